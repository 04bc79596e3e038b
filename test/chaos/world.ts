/** A whole Keyturn on servers of its own, with a proxy in every wire, and processes that are started again when they die. */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { startServers } from '../../local/servers/both.ts';
import type { MongoServer } from '../../local/servers/mongo.ts';
import type { RedisServer } from '../../local/servers/redis.ts';
import { freePort } from '../../local/tools/ports.ts';
import type { OpenedDeps } from '../../src/shared/runtime/open-deps.ts';
import { openParts } from '../../testkit/deps.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/processes/keyturn.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { startTcpProxy, type TcpProxy } from '../../testkit/servers/tcp-proxy.ts';
import { services } from '../../testkit/services.ts';

export const SERVICE = 'acme';

/** Access tokens live so long: several refreshes in each run. Seconds. */
const TOKEN_TTL_S = 10;

/** A process that is started again whenever it ends. */
export type Supervised = {
  readonly current: KeyturnProcess | null;
  /** Every line that all its lives wrote. */
  output(): string;
  stop(): Promise<void>;
};

export type World = {
  nodes: number;
  dir: string;
  mongo: MongoServer;
  redis: RedisServer;
  provider: AuthorizationServer;
  /** The wires. With several MongoDB nodes there is none to MongoDB: its driver goes where the nodes say they are. */
  wires: { mongo: TcpProxy | null; redis: TcpProxy; provider: TcpProxy };
  api: Supervised;
  workers: Supervised[];
  apiUrl: string;
  adminKey: string;
  /** Our own look at the stores, past the proxies. */
  deps: OpenedDeps;
  wipeRedis(): Promise<void>;
  /** Which node is the primary now. */
  primary(): Promise<number>;
  /** Makes the primary give up for so many seconds. */
  stepDown(seconds: number): Promise<void>;
  stop(options: { keep: boolean }): Promise<void>;
};

/** Starts everything. */
export async function startWorld(options: { nodes: number; say: (line: string) => void }): Promise<World> {
  const { nodes, say } = options;
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-chaos-'));
  const servers = await startServers({ env: process.env, dir, mongo: { nodes }, progress: say });
  const { mongo, redis } = servers;
  const provider = await startAuthorizationServer({ accessTokenTtlS: TOKEN_TTL_S });
  const wires = {
    mongo: nodes === 1 ? await startTcpProxy({ port: portOf(mongo.uri) }) : null,
    redis: await startTcpProxy({ port: redis.port }),
    provider: await startTcpProxy({ port: provider.port }),
  };
  const port = await freePort();
  const adminKey = `kt_live_${randomBytes(32).toString('base64url')}`;
  const common = { ...settings(dir), ...serviceOver(provider, wires.provider.port) };
  const direct = { ...common, MONGODB_URI: mongo.uri, REDIS_URL: redis.url };
  const env = {
    ...common,
    MONGODB_URI: wires.mongo ? `mongodb://127.0.0.1:${wires.mongo.port}/?directConnection=true` : mongo.uri,
    REDIS_URL: `redis://127.0.0.1:${wires.redis.port}`,
    KEYTURN_PORT: String(port),
    KEYTURN_BOOTSTRAP_KEY: adminKey,
  };
  const deps = await openParts({ ...direct, KEYTURN_LOG_LEVEL: 'silent' });
  const api = await supervise('api', env);
  const workers = [await supervise('workers', env), await supervise('workers', env)];
  const stop = async ({ keep }: { keep: boolean }) => {
    await Promise.all([api, ...workers].map((one) => one.stop()));
    await deps.close();
    await Promise.all([...Object.values(wires)].map((wire) => wire?.close()));
    await Promise.all([provider.stop(), servers.stop()]);
    if (!keep) await rm(dir, { recursive: true, force: true });
  };
  return {
    nodes,
    dir,
    mongo,
    redis,
    provider,
    wires,
    api,
    workers,
    apiUrl: `http://127.0.0.1:${port}`,
    adminKey,
    deps,
    ...storeControls(deps, mongo, redis),
    stop,
  };
}

function storeControls(deps: OpenedDeps, mongo: MongoServer, redis: RedisServer) {
  const admin = (command: object) => deps.database.client.db('admin').command(command);
  return {
    wipeRedis: async () => {
      const client = new Redis(redis.url, { lazyConnect: true, retryStrategy: () => null });
      client.on('error', () => {});
      await client.flushall().finally(() => client.disconnect());
    },
    primary: async () => {
      const { primary } = await admin({ hello: 1 });
      return mongo.uri.slice('mongodb://'.length).split('/')[0]!.split(',').indexOf(String(primary));
    },
    stepDown: async (seconds: number) => {
      // The server closes the connection that asked: an error is the sign of success.
      await admin({ replSetStepDown: seconds, secondaryCatchUpPeriodSecs: 0, force: true }).catch(() => {});
    },
  };
}

/** Everything short, so that every time-out and every lease comes to its end within a run. */
function settings(dir: string): Record<string, string> {
  return {
    KEYTURN_DATABASE: 'chaos',
    KEYTURN_QUEUE_PREFIX: 'chaos',
    KEYTURN_QUEUE_PARTITIONS: '2',
    KEYTURN_ROOT_KEYS: Buffer.alloc(32, 9).toString('base64'),
    KEYTURN_JOURNAL_DIR: join(dir, 'journal'),
    KEYTURN_OCSF_DIR: join(dir, 'ocsf'),
    KEYTURN_SWEEP_SECONDS: '0.3',
    KEYTURN_LEASE_SECONDS: '6',
    KEYTURN_CALL_TIMEOUT_SECONDS: '2',
    KEYTURN_DRAIN_SECONDS: '6',
    KEYTURN_REFRESH_MARGIN_SECONDS: '2',
    KEYTURN_RATE_LIMIT_PER_MINUTE: '10000000',
  };
}

/** Exchange, refresh and revocation go over the wire; people's browsers go past it. */
function serviceOver(provider: AuthorizationServer, wirePort: number): Record<string, string> {
  const wire = `http://127.0.0.1:${wirePort}`;
  return services({
    [SERVICE]: {
      client_id: provider.clientId,
      client_secret: provider.clientSecret,
      authorize_url: `${provider.issuer}/auth`,
      token_url: `${wire}/token`,
      introspect_url: `${wire}/token/introspection`,
      revoke_url: `${wire}/token/revocation`,
    },
  });
}

function portOf(uri: string): number {
  return Number(/:(\d+)\//.exec(uri)?.[1]);
}

async function supervise(program: 'api' | 'workers', env: Record<string, string>): Promise<Supervised> {
  const state = { current: null as KeyturnProcess | null, stopping: false };
  const lives: KeyturnProcess[] = [];
  const live = async () => {
    while (!state.stopping) {
      state.current = await startProcess(program, env);
      lives.push(state.current);
      await state.current.exited;
      state.current = null;
      await pause(200);
    }
  };
  const lived = live();
  return {
    get current() {
      return state.current;
    },
    output: () => lives.map((one) => one.output()).join(''),
    stop: async () => {
      state.stopping = true;
      await state.current?.sigterm({ timeoutMs: 20_000 });
      await lived;
    },
  };
}
