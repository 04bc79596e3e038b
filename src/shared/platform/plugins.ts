/** Plug-ins: each is one file in the folder of its kind, exports itself as `plugin`, and is found by being there. */
import { readdir } from 'node:fs/promises';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from './concurrency/once.ts';
import { AppError } from './errors.ts';

export type PluginLoader<T> = {
  /** Names of the plug-ins that there are: their files without the ending, sorted. */
  names(): Promise<readonly string[]>;
  /** The plug-in of that name. Throws `config_invalid`, naming what there is, where there is none; and as `all`. */
  load(name: string): Promise<T>;
  /** Every plug-in by its name, sorted. Throws `config_invalid` with file and fault where one is not what its kind asks for. */
  all(): Promise<ReadonlyMap<string, T>>;
};

type Kind = 'string' | 'number' | 'boolean' | 'function' | 'array' | 'object';

/** What a field must be; a list holds the words that it may be. */
type Field = Kind | readonly string[] | { readonly optional: Kind };

/** The field that the type of a value asks for, so that a table cannot differ from its contract. */
type FieldOf<V> = [V] extends [(...args: never[]) => unknown]
  ? 'function'
  : [V] extends [string]
    ? string extends V
      ? 'string'
      : readonly V[]
    : [V] extends [boolean]
      ? 'boolean'
      : [V] extends [number]
        ? 'number'
        : [V] extends [readonly unknown[]]
          ? 'array'
          : 'object';

/** The fields of a plug-in besides its name, and what each must be. */
export type Shape<T> = {
  readonly [K in keyof Omit<T, 'name'>]-?: undefined extends T[K]
    ? { readonly optional: FieldOf<NonNullable<T[K]>> }
    : FieldOf<T[K]>;
};

export type PluginKind<T> = {
  /** For messages: `sink`, `key provider`. */
  kind: string;
  /** URL of the caller's module. Plug-ins are the files with the same ending (`.ts`, or `.js` once emitted). */
  self: string;
  /** Their folder, beside the caller's module; ends in `/`. */
  folder?: string;
  shape: Shape<T>;
};

/** The loader of one kind. It keeps what it has loaded and checked, and reads nothing before it is asked. */
export function makePluginLoader<T extends { readonly name: string }>(plugins: PluginKind<T>): PluginLoader<T> {
  const { kind, self, folder = './plugins/', shape } = plugins;
  const ending = extname(new URL(self).pathname);
  const loaded = new Map<string, T>();
  const names = once(() => namesIn(new URL(folder, self), ending));

  async function load(name: string): Promise<T> {
    const known = loaded.get(name);
    if (known) return known;
    const all = await names();
    if (!all.includes(name)) {
      throw new AppError('config_invalid', {
        detail: `There is no ${kind} named "${name}"; choose one of: ${all.join(', ')}.`,
      });
    }
    const plugin = await importPlugin(new URL(`${folder}${name}${ending}`, self), kind);
    const faults = faultsOf(plugin, name, shape);
    if (faults.length > 0) throw unusable(kind, new URL(`${folder}${name}${ending}`, self), faults);
    loaded.set(name, plugin as T);
    return plugin as T;
  }

  const all = once(async () => {
    const entries = (await names()).map(async (name) => [name, await load(name)] as const);
    return new Map(await Promise.all(entries));
  });
  return { names, load, all };
}

async function namesIn(folder: URL, ending: string): Promise<string[]> {
  const files = await readdir(folder);
  return files
    .filter((file) => extname(file) === ending && !file.endsWith('.d.ts'))
    .map((file) => file.slice(0, -ending.length))
    .sort();
}

async function importPlugin(file: URL, kind: string): Promise<unknown> {
  try {
    const module: { plugin?: unknown } = await import(file.href);
    return module.plugin;
  } catch (cause) {
    throw unusable(kind, file, [`it does not load: ${(cause as Error).message}`], cause);
  }
}

/** All that keeps a value from being the plug-in `name`; none when it is one. */
function faultsOf(plugin: unknown, name: string, shape: object): string[] {
  if (!IS.object(plugin)) return ['it exports no `plugin`'];
  const given = plugin as Record<string, unknown>;
  const faults = given.name === name ? [] : [`its name is ${JSON.stringify(given.name)}, the file's is "${name}"`];
  for (const [field, wanted] of Object.entries(shape) as [string, Field][]) {
    if (!fits(given[field], wanted)) faults.push(`\`${field}\` must be ${describe(wanted)}`);
  }
  return faults;
}

const IS: Record<Kind, (value: unknown) => boolean> = {
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  function: (value) => typeof value === 'function',
  array: Array.isArray,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

function fits(value: unknown, wanted: Field): boolean {
  if (typeof wanted === 'string') return IS[wanted](value);
  if ('optional' in wanted) return value === undefined || IS[wanted.optional](value);
  return wanted.some((word) => word === value);
}

function describe(wanted: Field): string {
  if (typeof wanted === 'string') return `of type ${wanted}`;
  return 'optional' in wanted ? `of type ${wanted.optional}, or left out` : `one of: ${wanted.join(', ')}`;
}

function unusable(kind: string, file: URL, faults: string[], cause?: unknown): AppError {
  return new AppError('config_invalid', {
    detail: `The ${kind} in ${fileURLToPath(file)} cannot be used: ${faults.join('; ')}.`,
    ...(cause !== undefined && { cause }),
  });
}
