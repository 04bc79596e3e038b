import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { ProviderSettings } from '../../providers/contract.ts';
import { AppError } from '../errors.ts';
import { Secret } from '../secret.ts';
import { assertNoSecretDebug } from './debug.ts';
import { VARIABLES } from './variables.ts';

type Name = keyof typeof VARIABLES;

const integer = (min: number, max: number) =>
  z.string().regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max));
const seconds = z
  .string()
  .regex(/^\d+(\.\d+)?$/, 'must be a number of seconds')
  .transform((s) => Math.round(Number(s) * 1000));
const list = z.string().transform((s) =>
  s
    .split(/[,\n]/)
    .map((part) => part.trim())
    .filter(Boolean),
);
const text = z.string();
const optional = z.string().optional();
const flag = z.enum(['true', 'false']).transform((s) => s === 'true');
const secret = z
  .string()
  .transform((s) => new Secret(s))
  .optional();

const schema = z.object({
  MONGODB_URI: text,
  REDIS_URL: text,
  KEYTURN_DATABASE: text.regex(/^[A-Za-z0-9_-]{1,60}$/, 'may hold letters, digits, - and _'),
  KEYTURN_QUEUE_PREFIX: text.regex(/^[A-Za-z0-9_-]{1,60}$/, 'may hold letters, digits, - and _'),
  KEYTURN_HOST: text,
  KEYTURN_PORT: integer(0, 65535),
  KEYTURN_PUBLIC_URL: z
    .url()
    .transform((u) => u.replace(/\/$/, ''))
    .optional(),
  KEYTURN_TRUST_PROXY: list,
  KEYTURN_KEY_PROVIDER: text,
  KEYTURN_ROOT_KEYS: secret,
  KEYTURN_ROOT_KEYS_STAGED: secret,
  KEYTURN_KEY_CACHE_SECONDS: seconds,
  KEYTURN_KEY_GRACE_SECONDS: seconds,
  KEYTURN_KEY_REFRESH_SECONDS: seconds,
  KEYTURN_RESEAL_PER_SECOND: integer(1, 1_000_000),
  KEYTURN_VAULT_ADDR: z.url().optional(),
  KEYTURN_VAULT_TOKEN: secret,
  KEYTURN_VAULT_TOKEN_PATH: optional,
  KEYTURN_VAULT_ROLE_ID: optional,
  KEYTURN_VAULT_SECRET_ID: secret,
  KEYTURN_VAULT_NAMESPACE: optional,
  KEYTURN_VAULT_TRANSIT_KEY: text,
  KEYTURN_VAULT_TRANSIT_MOUNT: text,
  KEYTURN_VAULT_KV_MOUNT: text,
  KEYTURN_AWS_KMS_KEY_ID: optional,
  KEYTURN_AWS_KMS_ENDPOINT: z.url().optional(),
  KEYTURN_SECRET_STORE: text,
  KEYTURN_SECRET_DIR: text,
  KEYTURN_JOURNAL_DIR: text,
  KEYTURN_QUEUES: list,
  KEYTURN_QUEUE_PARTITIONS: integer(1, 256),
  KEYTURN_REFRESH_CONCURRENCY: integer(1, 200),
  KEYTURN_REFRESH_MARGIN_SECONDS: seconds,
  KEYTURN_LEASE_SECONDS: seconds,
  KEYTURN_SWEEP_SECONDS: seconds,
  KEYTURN_CALL_TIMEOUT_SECONDS: seconds,
  KEYTURN_DRAIN_SECONDS: seconds,
  KEYTURN_RATE_LIMIT_PER_MINUTE: integer(1, 10_000_000),
  KEYTURN_JWT_ISSUER: z.url().optional(),
  KEYTURN_JWT_AUDIENCE: optional,
  KEYTURN_BACKLOG_LIMIT: integer(1, 100_000_000),
  KEYTURN_MAX_REVOCATIONS_PER_ALERT: integer(0, 100_000),
  KEYTURN_CHECKPOINT_DIR: optional,
  KEYTURN_CHECKPOINT_SECONDS: seconds,
  KEYTURN_OCSF_DIR: text,
  KEYTURN_GITHUB_PARTNER_KEYS_URL: z.url(),
  KEYTURN_ALLOW_PRIVATE_WEBHOOKS: flag,
  KEYTURN_BOOTSTRAP_KEY: secret,
  KEYTURN_PROVIDERS: list,
  KEYTURN_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
});

/** Values keep the names of their variables; `…_SECONDS` are milliseconds once read. */
export type Config = z.infer<typeof schema> & { providers: ProviderSettings[] };

type Environment = Record<string, string | undefined>;
type ReadFile = (path: string) => string;

/**
 * Reads the whole configuration at once. `<NAME>_FILE` gives any value by a file.
 * Throws one `config_invalid` that lists every problem.
 */
export function parseConfig(env: Environment, readFile: ReadFile = (path) => readFileSync(path, 'utf8')): Config {
  const problems = debugProblems(env.DEBUG);
  const given = resolveFiles(env, readFile, problems);
  for (const [name, row] of Object.entries(VARIABLES) as [Name, { required?: true; default?: string }][]) {
    if (given[name] === undefined && row.default !== undefined) given[name] = row.default;
    if (given[name] === undefined && row.required) problems.push(`${name} is not set: ${VARIABLES[name].about}.`);
  }
  const providers = parseProviders(given, problems);
  for (const name of Object.keys(given)) {
    if (name in VARIABLES || !name.startsWith('KEYTURN_')) continue;
    problems.push(`${name} is not known; see the configuration table in the README.`);
  }
  const parsed = schema.safeParse(given);
  for (const issue of parsed.error?.issues ?? []) {
    const name = String(issue.path[0]);
    if (given[name] !== undefined) problems.push(`${name} ${issue.message}.`);
  }
  if (problems.length > 0 || !parsed.success) {
    throw new AppError('config_invalid', { detail: `The configuration has problems:\n- ${problems.join('\n- ')}` });
  }
  return { ...parsed.data, providers };
}

/** What libraries print for debugging is part of the configuration too. */
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
