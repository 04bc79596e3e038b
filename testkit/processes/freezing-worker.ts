/**
 * A worker process that freezes for good at one point of a rotation, named by its argument, so that it can be killed
 * exactly there: `before:<entry>` and `after:<entry>` of a commit, `sent`, `unanswered` and `answered` of the reply journal.
 */

import { writeSync } from 'node:fs';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { makeMetrics } from '../../src/shared/runtime/metrics.ts';
import type { Commit } from '../../src/shared/store/commit.ts';
import { type Journal, openJournal } from '../../src/shared/work/journal.ts';
import { startWorkers } from '../../src/workers/run.ts';
import { openParts } from '../deps.ts';

const point = process.argv[2] as string;
const deps = await openParts(process.env);

/** Neither timers nor replies get through from here on: leases are not renewed. */
function freezeAt(name: string): void {
  if (name !== point) return;
  writeSync(1, 'frozen\n');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

const commit: Commit = async (change) => {
  for (const { type } of change.entries) freezeAt(`before:${type}`);
  const outcome = await deps.commit(change);
  for (const { type } of change.entries) freezeAt(`after:${type}`);
  return outcome;
};

const journal = openJournal(deps.config.journalDir, 'wrk_frozen', systemClock);
const stopping: Journal = {
  ...journal,
  sent: (id, fence) => {
    journal.sent(id, fence);
    freezeAt('sent');
  },
  replied: (id, fence, body) => {
    freezeAt('unanswered');
    journal.replied(id, fence, body);
    freezeAt('answered');
  },
};

await startWorkers({ ...deps, metrics: makeMetrics(), commit, journal: stopping, workerId: 'wrk_frozen' });
writeSync(1, 'running\n');
