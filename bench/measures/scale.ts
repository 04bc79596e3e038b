import { setTimeout as pause } from 'node:timers/promises';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import { openBed } from '../bed.ts';
import { type Bench, type BenchContext, perSecond, type Result } from '../contract.ts';

const PROCESSES = [1, 2, 4];
const PLACES = 24;
/** A provider at its usual distance: with so many places a process can make PLACES / LATENCY_MS calls. */
const LATENCY_MS = 150;
const SECONDS = 15;

export const bench: Bench = {
  name: 'scale',
  about: `1, 2 and 4 worker processes at a provider that takes ${LATENCY_MS} ms and ${PLACES} calls of each at once`,
  goal: 0.8,
  byDefault: false,
  run,
};

/** The ratio is the speed of four processes to four times that of one. */
async function run(context: BenchContext): Promise<Result> {
  const rates: number[] = [];
  for (const count of PROCESSES) {
    rates.push(await rateOf(context, count));
    context.say(`  ${count} processes: ${rates.at(-1)} refreshes/s`);
  }
  const figures = PROCESSES.map((count, index) => [`${count} worker processes, refreshes/s`, rates[index]!]);
  return { ratios: [rates.at(-1)! / (PROCESSES.at(-1)! * rates[0]!)], figures: Object.fromEntries(figures) };
}

async function rateOf(context: BenchContext, count: number): Promise<number> {
  await using bed = await openBed(context, { latencyMs: LATENCY_MS, stub: { max_concurrent: String(PLACES) } });
  const { deps } = bed;
  const backlog = Math.ceil(((PLACES * 1_000) / LATENCY_MS) * count * (SECONDS + 10));
  const set = { due: { refresh: new Date() } };
  await seedCredentials(deps, { count: backlog, service: 'stub', tenantId: 'ten_bench', set });
  for (let number = 0; number < count; number += 1) bed.startWorker();
  while ((await refreshed(deps)) < count * PLACES * 4) await pause(100);
  const before = { at: performance.now(), count: await refreshed(deps) };
  await pause(SECONDS * 1_000);
  return perSecond((await refreshed(deps)) - before.count, performance.now() - before.at);
}

function refreshed(deps: Deps): Promise<number> {
  return deps.database.collection('credentials').countDocuments({ generation: 2 });
}
