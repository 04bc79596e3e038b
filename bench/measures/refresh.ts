import { setTimeout as pause } from 'node:timers/promises';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import { bareLoop } from '../bare-loop.ts';
import { openBed } from '../bed.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { cpuMs } from '../cpu.ts';

const COUNT = 15_000;
const TENANT = 'ten_bench';

export const bench: Bench = {
  name: 'refresh',
  about: `${COUNT} credentials due at once, one worker process, against a bare simple-oauth2 loop on the same stub`,
  goal: 1,
  byDefault: true,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  await using bed = await openBed(context);
  const { deps, url } = bed;
  await seedCredentials(deps, { count: COUNT, service: 'stub', tenantId: TENANT });
  const worker = bed.startWorker({ KEYTURN_QUEUES: 'refresh,sweep' });
  const bare: number[] = [];
  const ours: number[] = [];
  const parts = { worker: [worker.pid], mongod: context.mongo.pids, redis: [context.redis.pid] };
  const shares: Record<string, number> = {};
  await refreshAll(deps, 1_000);
  for (let round = 0; round < context.runs; round += 1) {
    bare.push(await bareLoop(url, COUNT));
    const before = mapValues(parts, (pids) => cpuMs(...pids));
    ours.push(perSecond(COUNT, await refreshAll(deps, COUNT)));
    for (const [name, pids] of Object.entries(parts)) shares[name] = (cpuMs(...pids) - before[name]!) / COUNT;
    context.say(`  bare ${bare.at(-1)}/s, ours ${ours.at(-1)}/s`);
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
