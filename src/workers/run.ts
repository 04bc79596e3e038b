import { hostname } from 'node:os';
import { reviveRetiredKeys } from '../shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../shared/platform/clock.ts';
import type { Config } from '../shared/platform/config/parse.ts';
import { newId } from '../shared/platform/ids.ts';
import { makeLog } from '../shared/platform/log.ts';
import { systemRandom } from '../shared/platform/random.ts';
import { openDeps } from '../shared/runtime/open-deps.ts';
import { openJournal } from '../shared/work/journal.ts';
import { openConsumers } from './consumers.ts';

/**
 * Works until `stopping` aborts, then finishes what is in hand within KEYTURN_DRAIN_SECONDS and closes everything.
 * Throws what keeps the process from starting.
 */
export async function runWorkers(config: Config, stopping: AbortSignal): Promise<void> {
  const clock = systemClock;
  const random = systemRandom;
  const workerId = newId('worker', { clock, random });
  const log = makeLog(config.logLevel, { process: 'workers', host: hostname() });
  const deps = await openDeps(config, { clock, random, log }, reviveRetiredKeys);
  const journal = openJournal(config.journalDir, workerId, clock);
  const workers = await openConsumers({ ...deps, journal, workerId });
  if (!stopping.aborted) await new Promise((resolve) => stopping.addEventListener('abort', resolve, { once: true }));
  log.info('stopping: work in hand is finished first');
  const finished = await workers.stop();
  await deps.close();
  // What is still under way goes on writing to it, until the process ends.
  if (finished) journal.close();
  log.info('stopped');
}
