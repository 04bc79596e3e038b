import { setTimeout as pause } from 'node:timers/promises';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import { sweep } from '../../src/workers/sweep.ts';
import { seedCredentials, seedIdle } from '../../testkit/credentials.ts';
import { bareLoop } from '../bare-loop.ts';
import { openBed } from '../bed.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { cpuMs } from '../cpu.ts';
import { bytesPerDocument, memoryMb, mongoStatus, redisMb } from '../looks.ts';

const STEPS = [1_000, 10_000, 100_000, 1_000_000];
const DUE = 10_000;
const IDLE_SECONDS = 20;
const SWEEPS = 30;
const TENANT = 'ten_bench';

export const bench: Bench = {
  name: 'million',
  about: `a million credentials: time of a sweep as they grow, cost of idling, ${DUE} due in the same second`,
  goal: null,
  byDefault: false,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  await using bed = await openBed(context);
  const { deps, url } = bed;
  const sweeps = await sweepTimes(context, deps);
  const sizes = await bytesPerDocument(deps, 'credentials');
  const worker = bed.startWorker();
  const idle = await idleCost(context, deps, worker.pid);
  const rush = await rushHour(context, deps, worker.pid);
  const bare = await bareLoop(url, DUE);
  const bytes = Object.fromEntries(Object.entries(sizes).map(([what, size]) => [`bytes each: ${what}`, size]));
  const figures = { ...sweeps, ...idle, ...rush.figures, 'bare loop, refreshes/s': bare, ...bytes };
  return { ratios: [rush.rate / bare], figures };
}

/** How long a look takes when nothing is due, as the number of credentials grows. */
async function sweepTimes({ say }: BenchContext, deps: Deps): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  let there = 0;
  for (const count of STEPS) {
    await seedIdle(deps, { count: count - there, service: 'stub', tenantId: TENANT });
    there = count;
    // What the seeding left to be written is not part of a sweep.
    await deps.database.client.db('admin').command({ fsync: 1 });
    await sweep(deps);
    const times: number[] = [];
    for (let round = 0; round < SWEEPS; round += 1) {
      const begin = performance.now();
      await sweep(deps);
      times.push(performance.now() - begin);
    }
    figures[`sweep with nothing due, ${count} credentials, ms`] = Math.round(quantile(times, 0.5) * 10) / 10;
    say(`  ${count} credentials: ${quantile(times, 0.5).toFixed(1)} ms`);
  }
  return figures;
}

/** What a worker process and MongoDB do while nothing is due. */
async function idleCost({ mongo }: BenchContext, deps: Deps, pid: number | undefined): Promise<Record<string, number>> {
  await pause(8_000);
  const before = { ...(await mongoStatus(deps)), worker: cpuMs(pid), mongod: cpuMs(...mongo.pids) };
  await pause(IDLE_SECONDS * 1_000);
  const after = await mongoStatus(deps);
  const share = (ms: number) => Math.round((ms / IDLE_SECONDS / 10) * 10) / 10;
  return {
    'idle: MongoDB operations/s': Math.round((after.operations - before.operations) / IDLE_SECONDS),
    'idle: CPU of the worker, %': share(cpuMs(pid) - before.worker),
    'idle: CPU of mongod, %': share(cpuMs(...mongo.pids) - before.mongod),
    'idle: memory of the worker, MB': memoryMb(pid),
  };
}

async function rushHour({ mongo, redis, say }: BenchContext, deps: Deps, pid: number | undefined) {
  const dueAt = new Date(deps.clock.now() + 30_000);
  const set = { due: { refresh: dueAt } };
  await seedCredentials(deps, { count: DUE, service: 'stub', tenantId: TENANT, from: 1, set });
  await pause(Math.max(0, dueAt.getTime() - deps.clock.now()));
  const peak = { redis: 0, worker: 0 };
  const filter = { type: 'credential.refreshed', 'detail.latenessMs': { $ne: null } };
  const soon = { 'due.refresh': { $lte: new Date(dueAt.getTime() + 600_000) } };
  while (await deps.database.collection('credentials').findOne(soon, { projection: { _id: 1 } })) {
    peak.redis = Math.max(peak.redis, await redisMb(redis.url));
    peak.worker = Math.max(peak.worker, memoryMb(pid));
    await pause(500);
  }
  const entries = [
    ...(await deps.database.collection('audit').find(filter).toArray()),
    ...(await deps.database.collection('audit_inbox').find(filter).toArray()),
  ];
  const late = entries.map(({ detail }) => detail.latenessMs as number);
  const rate = perSecond(DUE, Math.max(...late));
  say(`  ${DUE} due at once: p50 ${quantile(late, 0.5)} ms, p99 ${quantile(late, 0.99)} ms`);
  return {
    rate,
    figures: {
      'due at once: lateness p50, ms': quantile(late, 0.5),
      'due at once: lateness p99, ms': quantile(late, 0.99),
      'due at once: refreshes/s': rate,
      'due at once: memory of the worker, MB': peak.worker,
      'due at once: memory of mongod, MB': memoryMb(mongo.pids[0]),
      'due at once: memory of Redis, MB': peak.redis,
    },
  };
}
