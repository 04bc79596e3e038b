import { access, constants, link, mkdir, open, readdir, readFile, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { inParallel } from '../../../platform/concurrency/in-parallel.ts';
import { AppError } from '../../../platform/errors.ts';
import type { PluginDeps, SealContext, SecretStore, SecretStorePlugin } from '../contract.ts';
import { addressOf, objectOf, refOf } from '../value-address.ts';

const NAME = 'file';
const FILES_AT_ONCE = 16;
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
/** After this time a file that is being written is finished, or its writer is gone. Milliseconds. */
const WRITING_MS = 3_600_000;

/**
 * Sealed values as files in `KEYTURN_SECRET_DIR`:
 * `<first two digits>/<hash of tenant and object>.<generation>.<ref>.jwe`, readable by their owner only.
 */
export const plugin: SecretStorePlugin = {
  name: NAME,
  create: (config, deps) => makeFileStore(resolve(config.secretDir), deps),
};

function makeFileStore(root: string, { random, clock }: PluginDeps): SecretStore {
  const ready = new Set<string>();
  const prepare = async (directory: string) => {
    if (ready.has(directory)) return;
    await makeDirectory(root, directory);
    await removeUnfinished(directory, clock.now() - WRITING_MS);
    ready.add(directory);
  };
  const newName = () => `${random.bytes(12).toString('hex')}.tmp`;
  return {
    name: NAME,
    put: (items) =>
      inParallel(items, FILES_AT_ONCE, async ({ context, sealed }) => {
        const ref = refOf(sealed.jwe);
        const path = fileOf(root, context, ref);
        await failing('write', () => prepare(dirname(path)));
        await failing('write', () => write(path, newName(), sealed.jwe));
        return { store: NAME, keyVersion: sealed.keyVersion, ref };
      }),
    get: (items) =>
      inParallel(items, FILES_AT_ONCE, ({ context, stored }) =>
        failing('read', () => read(fileOf(root, context, stored.ref))),
      ),
    async delete(items) {
      await inParallel(items, FILES_AT_ONCE, ({ context, stored }) =>
        failing('delete', () => remove(fileOf(root, context, stored.ref))),
      );
    },
    async purge(objects) {
      await inParallel(objects, FILES_AT_ONCE, (object) => failing('delete', () => removeAll(root, objectOf(object))));
    },
    health: () => failing('open', () => check(root)),
  };
}

function fileOf(root: string, context: SealContext, ref: string | undefined): string {
  const { object, value } = addressOf(context, ref);
  return join(root, object.slice(0, 2), `${object}.${value}.jwe`);
}

/**
 * Writes a file of a temporary name, then gives it the final one. `link` does that in one step like `rename`, but
 * refuses to replace what is there. File and directory are on the disk when it resolves.
 */
async function write(path: string, name: string, content: string): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, name);
  await writeDurably(temporary, content);
  try {
    await link(temporary, path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    if ((await read(path)) !== content) throw new AppError('conflict', { internal: 'that place is taken' });
  } finally {
    await unlink(temporary);
  }
  await syncDirectory(directory);
}

async function writeDurably(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await file.close();
  }
}

async function read(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

async function remove(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function removeAll(root: string, object: string): Promise<void> {
  const directory = join(root, object.slice(0, 2));
  const names = await namesIn(directory);
  for (const name of names.filter((one) => one.startsWith(`${object}.`))) await remove(join(directory, name));
}

/** Removes what writers that were killed left behind: sealed, and named by nothing. */
async function removeUnfinished(directory: string, before: number): Promise<void> {
  for (const name of await namesIn(directory)) {
    const path = join(directory, name);
    if (!name.endsWith('.tmp')) continue;
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (mtimeMs < before) await remove(path);
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Makes the directory; the entry of each new one must be on the disk before anything in it counts as kept. */
async function makeDirectory(root: string, directory: string): Promise<void> {
  const made = await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
  const top = made !== undefined && made.length < root.length ? made : root;
  for (let at = directory; at.length > top.length; at = dirname(at)) await syncDirectory(dirname(at));
  if (made === top) await syncDirectory(dirname(top));
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function check(root: string): Promise<void> {
  await makeDirectory(root, root);
  await access(root, constants.R_OK | constants.W_OK | constants.X_OK);
  const { mode } = await stat(root);
  if ((mode & 0o077) === 0) return;
  throw new AppError('config_invalid', { detail: 'KEYTURN_SECRET_DIR is open to others; run chmod 700 on it.' });
}

/** The error of a system call as `store_unavailable`; its path stays in our log. */
async function failing<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('store_unavailable', {
      cause,
      detail: `The secret directory cannot be used (${codeOf(cause) ?? 'unknown error'} on ${what}); check KEYTURN_SECRET_DIR.`,
    });
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
