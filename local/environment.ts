import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from './tools/apt.ts';
import { freePort } from './tools/ports.ts';

const PREFERRED_PORT = 8080;

/** Whether MONGODB_URI and REDIS_URL name servers to use. Throws when only one of them is set. */
export function namesServers(env: Environment): boolean {
  const mongo = Boolean(env.MONGODB_URI || env.MONGODB_URI_FILE);
  const redis = Boolean(env.REDIS_URL || env.REDIS_URL_FILE);
  if (mongo !== redis) throw new Error('Set both MONGODB_URI and REDIS_URL, or neither: then both are started here.');
  return mongo;
}

export type Address = { host: string; port: number; localUrl: string; publicUrl: string };

/**
 * Where the API will listen: as configured; else 8080, or a free port when that is taken. An explicit 0 becomes a port
 * here already, because the sandbox must know the address of the callback.
 * `localUrl` is how this machine reaches it, `publicUrl` how browsers do.
 */
export async function chooseAddress(env: Environment): Promise<Address> {
  const host = env.KEYTURN_HOST || '127.0.0.1';
  const given = Number(env.KEYTURN_PORT || Number.NaN);
  const port = given > 0 ? given : await freePort(env.KEYTURN_PORT === '0' ? 0 : PREFERRED_PORT);
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const localUrl = `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
  return { host, port, localUrl, publicUrl: env.KEYTURN_PUBLIC_URL || localUrl };
}

/**
 * A root key in `dir`, made at the first start, for when no other is configured. Returns the variables that name it,
 * and its path when it is ours to tell of.
 */
export function ensureRootKey(
  env: Environment,
  dir: string,
): { env: Environment; path: string | null; isNew: boolean } {
  const configured = env.KEYTURN_ROOT_KEYS || env.KEYTURN_ROOT_KEYS_FILE;
  if (configured || (env.KEYTURN_KEY_PROVIDER ?? 'local') !== 'local') return { env: {}, path: null, isNew: false };
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, 'root.key');
  const isNew = !existsSync(path);
  if (isNew) writeFileSync(path, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' });
  return { env: { KEYTURN_ROOT_KEYS_FILE: path }, path, isNew };
}

/** What the processes get: everything of ours but what only the start itself reads, which they would refuse. */
export function processEnvironment(env: Environment, ...additions: Environment[]): Environment {
  const { KEYTURN_MONGOD: _, ...rest } = env;
  return Object.assign(rest, ...additions);
}
