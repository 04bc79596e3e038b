/**
 * `npm run soak [-- --minutes N]`: constant load on real processes. At the end memory, Redis and connections are where
 * they were after the warm-up. The last line is JSON; exit code 1 when something grew.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Deps } from '../src/shared/runtime/deps.ts';
import { seedCredentials } from '../testkit/credentials.ts';
import { cloudEvent, STRUCTURED } from '../testkit/messages/events.ts';
import type { ApiProcess } from './api-process.ts';
import { type Bed, openBed } from './bed.ts';
import { quantile } from './contract.ts';
import { memoryMb, mongoStatus, redisMb } from './looks.ts';
import { openStores, type Stores } from './stores.ts';

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
  const stores = await openStores(say);
  try {
    await using bed = await openBed(stores, {
      latencyMs: 20,
      lifeSeconds: LIFE_SECONDS,
      extra: { KEYTURN_REFRESH_MARGIN_SECONDS: '3' },
    });
    report(...(await soak(bed, stores, { ms: Number(values.minutes) * 60_000, say })));
  } finally {
    await stores.stop();
  }
}

type Counts = Record<string, number>;

async function soak(
  bed: Bed,
  { redis }: Stores,
  { ms, say }: { ms: number; say(line: string): void },
): Promise<[Sample[], Counts]> {
  const { deps } = bed;
  const api = await bed.startApi();
  const worker = bed.startWorker();
  const set = { due: { refresh: new Date() } };
  const ids = await seedCredentials(deps, { count: CREDENTIALS, service: 'stub', tenantId: api.tenantId, set });
  const stopping = new AbortController();
  const load = underLoad(api, ids, stopping.signal);
  const samples: Sample[] = [];
  const endAt = performance.now() + ms;
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
  return [samples, { ...calls, refreshes, overdue }];
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
  const event = cloudEvent('credential.import.requested', data, { id: `soak-${tick}`, source: 'urn:soak' });
  return { method: 'POST', headers: STRUCTURED, body: JSON.stringify(event) };
}

async function ask({ url, key }: ApiProcess, path: string, init: RequestInit): Promise<number> {
  try {
    const headers = { ...init.headers, authorization: `Bearer ${key}` };
    const response = await fetch(`${url}${path}`, { ...init, headers });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

/** The end against what stood after a third of the time: by then caches and pools are as large as they get. */
function report(samples: Sample[], counts: Counts): void {
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
