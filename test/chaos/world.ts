/** A whole Keyturn on servers of its own, with a proxy in every wire, and processes that are started again when they die. */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { findMongod } from '../../local/mongod.ts';
import { freePort } from '../../local/ports.ts';
import { findRedis, type RedisServer, startRedis } from '../../local/redis.ts';
import { type MongoServer, startMongo } from '../../local/servers.ts';
import { reviveRetiredKeys } from '../../src/shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { makeLog } from '../../src/shared/platform/log.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { type OpenedDeps, openDeps } from '../../src/shared/runtime/open-deps.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/authorization-server.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/process.ts';
import { startTcpProxy, type TcpProxy } from '../../testkit/tcp-proxy.ts';

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
  const mongoBinary = await findMongod({ env: process.env, progress: say });
  const redisBinary = await findRedis(process.env, say);
  const mongo = await startMongo({ binary: mongoBinary, dir: join(dir, 'mongo'), nodes });
  const redis = await startRedis({ binary: redisBinary, dir: join(dir, 'redis') });
  const provider = await startAuthorizationServer({ accessTokenTtlS: TOKEN_TTL_S });
  const wires = {
    mongo: nodes === 1 ? await startTcpProxy({ port: portOf(mongo.uri) }) : null,
    redis: await startTcpProxy({ port: redis.port }),
    provider: await startTcpProxy({ port: provider.port }),
  };
  const port = await freePort();
  const adminKey = `kt_live_${randomBytes(32).toString('base64url')}`;
  const common = { ...settings(dir), ...providerSettings(provider, wires.provider.port) };
  const direct = { ...common, MONGODB_URI: mongo.uri, REDIS_URL: redis.url };
  const env = {
    ...common,
    MONGODB_URI: wires.mongo ? `mongodb://127.0.0.1:${wires.mongo.port}/?directConnection=true` : mongo.uri,
    REDIS_URL: `redis://127.0.0.1:${wires.redis.port}`,
    KEYTURN_PORT: String(port),
    KEYTURN_BOOTSTRAP_KEY: adminKey,
  };
  const given = { clock: systemClock, random: systemRandom, log: makeLog('silent', {}) };
  const deps = await openDeps(parseConfig(direct), given, reviveRetiredKeys);
  const api = await supervise('api', env);
  const workers = [await supervise('workers', env), await supervise('workers', env)];
  const stop = async ({ keep }: { keep: boolean }) => {
    await Promise.all([api, ...workers].map((one) => one.stop()));
    await deps.close();
    await Promise.all([...Object.values(wires)].map((wire) => wire?.close()));
    await Promise.all([provider.stop(), mongo.stop(), redis.stop()]);
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

function providerSettings(provider: AuthorizationServer, proxyPort: number): Record<string, string> {
  const prefix = `KEYTURN_PROVIDER_${SERVICE.toUpperCase()}`;
  const wire = `http://127.0.0.1:${proxyPort}`;
  return {
    KEYTURN_PROVIDERS: SERVICE,
    [`${prefix}_TYPE`]: 'oauth2',
    [`${prefix}_CLIENT_ID`]: provider.clientId,
    [`${prefix}_CLIENT_SECRET`]: provider.clientSecret,
    [`${prefix}_AUTHORIZE_URL`]: `${provider.issuer}/auth`,
    [`${prefix}_TOKEN_URL`]: `${wire}/token`,
    [`${prefix}_INTROSPECT_URL`]: `${wire}/token/introspection`,
    [`${prefix}_REVOKE_URL`]: `${wire}/token/revocation`,
  };
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
