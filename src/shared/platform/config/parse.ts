import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { AppError } from '../errors.ts';
import { Secret } from '../secret.ts';
import { assertNoSecretDebug } from './debug.ts';
import { list } from './parsers.ts';
import type { ProviderSettings } from './provider-settings.ts';
import { VARIABLES, type Variables } from './variables.ts';

/** A value is absent only where its variable is optional. */
type Value<R extends Variables[keyof Variables]> = R extends { required: true } | { default: string }
  ? z.output<R['parse']>
  : z.output<R['parse']> | undefined;

/** The configuration as the code reads it: durations in milliseconds, secrets as `Secret`. */
export type Config = { [K in keyof Variables]: Value<Variables[K]> } & { providers: ProviderSettings[] };

type Key = keyof Variables;
type Row = { name: string; parse: z.ZodType; required?: true; default?: string; about: string };

const ROWS = Object.entries(VARIABLES) as [Key, Row][];

type Environment = Record<string, string | undefined>;
type ReadFile = (path: string) => string;

/**
 * Reads the whole configuration at once. `<NAME>_FILE` gives any value by a file.
 * Throws one `config_invalid` that lists every problem.
 */
export function parseConfig(env: Environment, readFile: ReadFile = (path) => readFileSync(path, 'utf8')): Config {
  const problems = debugProblems(env.DEBUG);
  const given = resolveFiles(env, readFile, problems);
  const providers = parseProviders(given, problems);
  const names = new Set(ROWS.map(([, row]) => row.name));
  for (const name of Object.keys(given)) {
    if (!names.has(name)) problems.push(`${name} is not known; see the configuration table in the README.`);
  }
  const values = ROWS.map(([key, row]) => [key, parseValue(row, given[row.name], problems)]);
  if (problems.length > 0) {
    throw new AppError('config_invalid', { detail: `The configuration has problems:\n- ${problems.join('\n- ')}` });
  }
  return { ...(Object.fromEntries(values) as Omit<Config, 'providers'>), providers };
}

/** Undefined where the variable is left out or wrong; what is wrong is added to `problems`. */
function parseValue(row: Row, given: string | undefined, problems: string[]): unknown {
  const value = given ?? row.default;
  if (value === undefined) {
    if (row.required) problems.push(`${row.name} is not set: ${row.about}.`);
    return undefined;
  }
  const parsed = row.parse.safeParse(value);
  for (const { message } of parsed.error?.issues ?? []) problems.push(`${row.name} ${message}.`);
  return parsed.data;
}

/** The variable DEBUG is part of the configuration too: libraries print secrets by it. */
function debugProblems(value: string | undefined): string[] {
  try {
    assertNoSecretDebug(value);
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

/** The variables of ours, with each `<NAME>_FILE` replaced by the content of its file. Empty values count as unset. */
function resolveFiles(env: Environment, readFile: ReadFile, problems: string[]): Record<string, string> {
  const given: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (!value || !(name.startsWith('KEYTURN_') || /^(MONGODB_URI|REDIS_URL)(_FILE)?$/.test(name))) continue;
    if (!name.endsWith('_FILE')) {
      given[name] = value;
      continue;
    }
    const target = name.slice(0, -'_FILE'.length);
    if (env[target]) problems.push(`${target} and ${name} are both set; set one.`);
    try {
      given[target] = readFile(value).trim();
    } catch {
      problems.push(`${name} names a file that cannot be read.`);
    }
  }
  return given;
}

const KNOWN_FIELDS = {
  type: 'TYPE',
  clientId: 'CLIENT_ID',
  clientSecret: 'CLIENT_SECRET',
  issuer: 'ISSUER',
  scopes: 'SCOPES',
  sandbox: 'SANDBOX',
  baseUrl: 'BASE_URL',
};

/** Takes the `KEYTURN_PROVIDER_<SERVICE>_<FIELD>` variables out of `given`. */
function parseProviders(given: Record<string, string>, problems: string[]): ProviderSettings[] {
  const services = list.parse(given.KEYTURN_PROVIDERS ?? '');
  // The longest name first: `GOOGLE_DRIVE` must not be read as field `DRIVE_…` of `GOOGLE`.
  const byLength = [...services].sort((a, b) => b.length - a.length);
  const fields = new Map<string, Record<string, string>>(services.map((service) => [service, {}]));
  for (const name of Object.keys(given)) {
    if (!name.startsWith('KEYTURN_PROVIDER_')) continue;
    const rest = name.slice('KEYTURN_PROVIDER_'.length);
    const service = byLength.find((candidate) => rest.startsWith(`${variablePart(candidate)}_`));
    if (service === undefined) {
      problems.push(`${name} belongs to no service in KEYTURN_PROVIDERS.`);
    } else {
      fields.get(service)![rest.slice(variablePart(service).length + 1)] = given[name]!;
    }
    delete given[name];
  }
  return services.map((service) => {
    if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(service))
      problems.push(`KEYTURN_PROVIDERS: "${service}" is not a service name (lower case, digits, dashes).`);
    return toSettings(service, fields.get(service)!);
  });
}

function variablePart(service: string): string {
  return service.toUpperCase().replaceAll('-', '_');
}

function toSettings(service: string, fields: Record<string, string>): ProviderSettings {
  const known = new Set(Object.values(KNOWN_FIELDS));
  const extra = Object.entries(fields).filter(([field]) => !known.has(field));
  return {
    service,
    ...(fields.TYPE && { type: fields.TYPE }),
    ...(fields.CLIENT_ID && { clientId: fields.CLIENT_ID }),
    ...(fields.CLIENT_SECRET && { clientSecret: new Secret(fields.CLIENT_SECRET) }),
    ...(fields.ISSUER && { issuer: fields.ISSUER }),
    ...(fields.SCOPES && { scopes: list.parse(fields.SCOPES.replaceAll(' ', ',')) }),
    ...(fields.SANDBOX && { sandbox: fields.SANDBOX === 'true' }),
    ...(fields.BASE_URL && { baseUrl: fields.BASE_URL.replace(/\/$/, '') }),
    extra: Object.fromEntries(extra.map(([field, value]) => [field.toLowerCase(), value])),
  };
}
