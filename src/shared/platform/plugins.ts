import { readdir } from 'node:fs/promises';
import { extname } from 'node:path';
import { AppError } from './errors.ts';

/**
 * The plug-ins of a folder: each file there exports one as `plugin` and is found by being there.
 *
 * @param folder URL of the folder, ending in `/`.
 * @param self URL of the caller's module; plug-ins are the files with the same ending (`.ts`, or `.js` once emitted).
 */
export async function pluginNames(folder: URL, self: string): Promise<string[]> {
  const ending = extname(new URL(self).pathname);
  const files = await readdir(folder);
  return files
    .filter((file) => extname(file) === ending && !file.endsWith('.d.ts'))
    .map((file) => file.slice(0, -ending.length))
    .sort();
}

/** Imports the plug-in of that name. Throws `config_invalid`, naming what there is, when there is none. */
export async function loadPlugin<T>(folder: URL, self: string, kind: string, name: string): Promise<T> {
  const names = await pluginNames(folder, self);
  if (!names.includes(name)) {
    throw new AppError('config_invalid', {
      detail: `There is no ${kind} named "${name}"; choose one of: ${names.join(', ')}.`,
    });
  }
  const module = await import(new URL(`${name}${extname(new URL(self).pathname)}`, folder).href);
  return module.plugin as T;
}
