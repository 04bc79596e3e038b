import { setTimeout as pause } from 'node:timers/promises';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import { end, forkAndHear, forkFile } from '../children.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { cpuMs } from '../cpu.ts';
import { openBench } from '../open.ts';
import { seedCredentials } from '../seed.ts';

const COUNT = 15_000;
const TENANT = 'ten_bench';

export const plugin: Bench = {
  name: 'refresh',
  about: `${COUNT} credentials due at once, one worker process, against a bare simple-oauth2 loop on the same stub`,
  goal: 1,
  byDefault: true,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  const stub = await forkAndHear<{ port: number }>('./stub-server.ts');
  const url = `http://127.0.0.1:${stub.message.port}`;
  const env = context.environment(stubProvider(url));
  const deps = await openBench(env);
  await seedCredentials(deps, { count: COUNT, service: 'stub', tenantId: TENANT });
  const worker = forkFile('../src/workers/main.ts', [], { ...env, KEYTURN_QUEUES: 'refresh,sweep' });
  const bare: number[] = [];
  const ours: number[] = [];
  const parts = { worker: [worker.pid], mongod: context.mongo.pids, redis: [context.redis.pid] };
  const shares: Record<string, number> = {};
  try {
    await refreshAll(deps, 1_000);
    for (let round = 0; round < context.runs; round += 1) {
      bare.push(await bareLoop(url));
      const before = mapValues(parts, (pids) => cpuMs(...pids));
      ours.push(perSecond(COUNT, await refreshAll(deps, COUNT)));
      for (const [name, pids] of Object.entries(parts)) shares[name] = (cpuMs(...pids) - before[name]!) / COUNT;
      context.say(`  bare ${bare.at(-1)}/s, ours ${ours.at(-1)}/s`);
    }
  } finally {
    await end(worker);
    await end(stub.child);
    await deps.close();
  }
  return {
    ratios: ours.map((rate, round) => rate / bare[round]!),
    figures: {
      'bare loop, refreshes/s': quantile(bare, 0.5),
      'one worker process, refreshes/s': quantile(ours, 0.5),
      ...Object.fromEntries(
        Object.entries(shares).map(([name, ms]) => [`CPU of ${name}, µs/refresh`, Math.round(ms * 1000)]),
      ),
    },
  };
}

function mapValues<A, B>(record: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]));
}

/** Variables of a service `stub` whose token endpoint is the stub server. */
export function stubProvider(url: string): Record<string, string> {
  return {
    KEYTURN_PROVIDERS: 'stub',
    KEYTURN_PROVIDER_STUB_TYPE: 'oauth2',
    KEYTURN_PROVIDER_STUB_CLIENT_ID: 'bench',
    KEYTURN_PROVIDER_STUB_CLIENT_SECRET: 'bench',
    KEYTURN_PROVIDER_STUB_AUTHORIZE_URL: `${url}/authorize`,
    KEYTURN_PROVIDER_STUB_TOKEN_URL: `${url}/token`,
  };
}

async function bareLoop(url: string): Promise<number> {
  const { child, message } = await forkAndHear<{ ms: number }>('./bare-refresh.ts', [url, String(COUNT)]);
  await end(child);
  return perSecond(COUNT, message.ms);
}

const GIVE_UP_MS = 120_000;

/** Makes so many due now and waits until every one is on the record as refreshed. Milliseconds. */
async function refreshAll(deps: Deps, count: number): Promise<number> {
  const credentials = deps.database.collection('credentials');
  // Nothing chains the inbox here, so it grows by an entry a refresh; its count costs the server nothing.
  const inbox = deps.database.collection('audit_inbox');
  const target = (await inbox.estimatedDocumentCount()) + count;
  const chosen = await credentials
    .find({}, { projection: { _id: 1 } })
    .limit(count)
    .toArray();
  const ids = chosen.map((doc) => doc._id);
  await credentials.updateMany({ _id: { $in: ids } }, { $set: { 'due.refresh': new Date() } });
  const begin = performance.now();
  while ((await inbox.estimatedDocumentCount()) < target) {
    if (performance.now() - begin > GIVE_UP_MS) throw new Error('the refreshes do not come to an end');
    await pause(25);
  }
  return performance.now() - begin;
}
