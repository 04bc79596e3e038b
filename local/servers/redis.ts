import { access, constants, mkdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Redis } from 'ioredis';
import { aptInstall, type Environment, type Install } from '../tools/apt.ts';
import { type Child, startChild } from '../tools/children.ts';
import { freePort } from '../tools/ports.ts';

const NAMES = ['redis-server', 'valkey-server'];
const READY_WITHIN_MS = 60_000;
const ADVICE =
  'No redis-server or valkey-server was found: install one of them (for instance `apt-get install redis-server`), ' +
  'or set REDIS_URL, or run `docker compose up`.';

/** A Redis that we started, alone on its port. */
export type RedisServer = {
  readonly url: string;
  readonly port: number;
  /** Changes with every restart. */
  readonly pid: number;
  /** kill -9, as a crash would. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and data after `downMs`; stops it before, unless it was killed. */
  restart(options?: { downMs?: number }): Promise<void>;
  stop(): Promise<void>;
};

/** The path of a Redis or Valkey server; as root on Debian or Ubuntu it is installed when missing. Throws advice. */
export async function findRedis(
  env: Environment,
  progress: (line: string) => void,
  install: Install = aptInstall,
): Promise<string> {
  const found = await searchPath(env);
  if (found !== null) return found;
  if (await install('redis-server', env, progress)) {
    const installed = await searchPath({ PATH: `${env.PATH ?? ''}${delimiter}/usr/bin` });
    if (installed !== null) return installed;
  }
  throw new Error(ADVICE);
}

async function searchPath(env: Environment): Promise<string | null> {
  const dirs = (env.PATH ?? '').split(delimiter).filter((dir) => dir !== '');
  for (const path of NAMES.flatMap((name) => dirs.map((dir) => join(dir, name)))) {
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return path;
  }
  return null;
}

/** Starts `binary` with its data in `dir`: append-only file, nothing ever evicted, loopback only. */
export async function startRedis(options: { binary: string; dir: string; port?: number }): Promise<RedisServer> {
  await mkdir(options.dir, { recursive: true });
  const port = await freePort(options.port);
  const url = `redis://127.0.0.1:${port}`;
  let child = await launch(options.binary, options.dir, port);
  return {
    url,
    port,
    get pid() {
      return child.pid;
    },
    kill9: () => child.stop('SIGKILL'),
    async restart({ downMs = 0 } = {}) {
      await child.stop();
      await new Promise((resolve) => setTimeout(resolve, downMs));
      child = await launch(options.binary, options.dir, port);
    },
    stop: () => child.stop(),
  };
}

function redisArgs(dir: string, port: number): string[] {
  const settings: Record<string, string> = {
    bind: '127.0.0.1',
    port: String(port),
    dir,
    daemonize: 'no',
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
    hz: '100',
    'hash-max-listpack-value': '1024',
    loglevel: 'warning',
  };
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
}

async function launch(binary: string, dir: string, port: number): Promise<Child> {
  const child = await startChild(binary, redisArgs(dir, port), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const keep = (chunk: Buffer) => {
    output = `${output}${chunk}`.slice(-2000);
  };
  child.process.stdout?.on('data', keep);
  child.process.stderr?.on('data', keep);
  if (await answersPing(port, child.exited)) return child;
  await child.stop('SIGKILL');
  throw new Error(`${binary} did not start: ${output.trim() || 'no answer to PING'}`);
}

/** True once the server answers and has read its data; false when it ended before. Asks once per 20 ms. */
async function answersPing(port: number, ended: Promise<unknown>): Promise<boolean> {
  const client = new Redis({
    port,
    host: '127.0.0.1',
    lazyConnect: true,
    maxRetriesPerRequest: null,
    retryStrategy: () => 20,
  });
  client.on('error', () => {});
  const timer = setTimeout(() => client.disconnect(), READY_WITHIN_MS);
  void ended.then(() => client.disconnect());
  try {
    return (await client.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
    client.disconnect();
  }
}
