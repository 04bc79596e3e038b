/**
 * `npm run soak [-- --minutes N]`: constant load on real processes. At the end memory, Redis and connections are where
 * they were after the warm-up. The last line is JSON; exit code 1 when something grew.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { findMongod } from '../local/mongod.ts';
import { findRedis, startRedis } from '../local/redis.ts';
import { startMongo } from '../local/servers.ts';
import type { Deps } from '../src/shared/runtime/deps.ts';
import { type ApiProcess, startApi } from './api-process.ts';
import { end, forkAndHear, forkFile } from './children.ts';
import { quantile } from './contract.ts';
import { stubProvider } from './measures/refresh.ts';
import { openBench } from './open.ts';
import { memoryMb, mongoStatus, redisMb } from './parties.ts';
import { seedCredentials } from './seed.ts';

const CREDENTIALS = 600;
/** Each is refreshed about every so many seconds. */
const LIFE_SECONDS = 15;
const EVENTS_PER_SECOND = 10;
const RELEASES_PER_SECOND = 30;
const SAMPLE_MS = 5_000;
/** Growth that is told from noise. Megabytes, connections. */
const ROOM = {
  'memory of the API, MB': 30,
  'memory of the worker, MB': 30,
  'Redis, MB': 5,
  'connections to MongoDB': 8,
};

type Sample = Record<keyof typeof ROOM, number>;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } });
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-soak-'));
  const { mongo, redis, stub, env } = await startStores(dir, say);
  const api = await startApi(env);
  const worker = forkFile('../src/workers/main.ts', [], env);
  const deps = await openBench(env);
  try {
    const set = { due: { refresh: new Date() } };
    const { tenantId } = api;
    const ids = await seedCredentials(deps, { count: CREDENTIALS, service: 'stub', tenantId, set });
    const stopping = new AbortController();
    const load = underLoad(api, ids, stopping.signal);
    const samples: Sample[] = [];
    const endAt = performance.now() + Number(values.minutes) * 60_000;
    while (performance.now() < endAt) {
      await pause(SAMPLE_MS);
      samples.push(await look(deps, { api: api.child.pid, worker: worker.pid, redisUrl: redis.url }));
      if (samples.length % 12 === 0) say(JSON.stringify(samples.at(-1)));
    }
    stopping.abort();
    const calls = await load;
    const refreshes = await deps.database.collection('audit').countDocuments({ type: 'credential.refreshed' });
    const overdue = await deps.database.collection('credentials').countDocuments({
      'due.refresh': { $lt: new Date(Date.now() - 60_000) },
    });
    report(samples, { ...calls, refreshes, overdue });
  } finally {
    await Promise.all([end(api.child), end(worker), end(stub.child)]);
    await deps.close();
    await Promise.allSettled([mongo.stop(), redis.stop()]);
    await rm(dir, { recursive: true, force: true });
  }
}

async function look(
  deps: Pick<Deps, 'database'>,
  at: { api: number | undefined; worker: number | undefined; redisUrl: string },
): Promise<Sample> {
  return {
    'memory of the API, MB': memoryMb(at.api),
    'memory of the worker, MB': memoryMb(at.worker),
    'Redis, MB': await redisMb(at.redisUrl),
    'connections to MongoDB': (await mongoStatus(deps)).connections,
  };
}

/** Stores, provider, and the environment that ties them together. */
async function startStores(dir: string, say: (line: string) => void) {
  const mongo = await startMongo({
    binary: await findMongod({ env: process.env, progress: say }),
    dir: join(dir, 'mongo'),
  });
  const redis = await startRedis({ binary: await findRedis(process.env, say), dir: join(dir, 'redis') });
  const stub = await forkAndHear<{ port: number }>('./stub-server.ts', ['20', String(LIFE_SECONDS)]);
  const env = {
    ...stubProvider(`http://127.0.0.1:${stub.message.port}`),
    MONGODB_URI: mongo.uri,
    REDIS_URL: redis.url,
    KEYTURN_DATABASE: 'soak',
    KEYTURN_ROOT_KEYS: randomBytes(32).toString('base64'),
    KEYTURN_JOURNAL_DIR: join(dir, 'journal'),
    KEYTURN_REFRESH_MARGIN_SECONDS: '3',
    KEYTURN_RATE_LIMIT_PER_MINUTE: '1000000',
    KEYTURN_LOG_LEVEL: 'warn',
  };
  return { mongo, redis, stub, env };
}

/** Events and releases at a constant pace; resolves to the number of answers by status. */
async function underLoad(api: ApiProcess, ids: string[], stopping: AbortSignal): Promise<Record<string, number>> {
  const answers: Record<string, number> = {};
  const underWay = new Set<Promise<void>>();
  const call = (name: string, path: string, init: RequestInit = {}) => {
    const done = ask(api, path, init).then((status) => {
      answers[`${name} ${status}`] = (answers[`${name} ${status}`] ?? 0) + 1;
      underWay.delete(done);
    });
    underWay.add(done);
  };
  for (let tick = 0; !stopping.aborted; tick += 1) {
    if (tick % (RELEASES_PER_SECOND / EVENTS_PER_SECOND) === 0) call('event', '/v1/events', eventFor(tick));
    call('release', `/v1/credentials/${ids[tick % ids.length]}/token`);
    await pause(1_000 / RELEASES_PER_SECOND);
  }
  await Promise.all(underWay);
  return answers;
}

function eventFor(tick: number): RequestInit {
  // Few subjects: the same credentials are given new secrets again and again.
  const data = {
    service: 'stub',
    subject: `soak-${tick % 300}`,
    kind: 'api_key',
    accessToken: `key-${tick}-0123456789`,
  };
  const event = {
    specversion: '1.0',
    id: `soak-${tick}`,
    source: 'urn:soak',
    type: 'credential.import.requested',
    data,
  };
  const headers = { 'content-type': 'application/cloudevents+json' };
  return { method: 'POST', headers, body: JSON.stringify(event) };
}

async function ask({ port, key }: ApiProcess, path: string, init: RequestInit): Promise<number> {
  try {
    const headers = { ...init.headers, authorization: `Bearer ${key}` };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

/** The end against what stood after a third of the time: by then caches and pools are as large as they get. */
function report(samples: Sample[], counts: Record<string, number>): void {
  const third = Math.floor(samples.length / 3);
  const median = (part: Sample[], name: keyof Sample) =>
    quantile(
      part.map((sample) => sample[name]),
      0.5,
    );
  const rows = Object.entries(ROOM).map(([name, room]) => {
    const before = median(samples.slice(third, 2 * third), name as keyof Sample);
    const after = median(samples.slice(2 * third), name as keyof Sample);
    return { name, before, after, grew: after - before > room };
  });
  const flat = rows.every(({ grew }) => !grew) && counts.overdue === 0;
  process.stdout.write(`${JSON.stringify({ flat, rows, counts })}\n`);
  process.exitCode = flat ? 0 : 1;
}

await main();
