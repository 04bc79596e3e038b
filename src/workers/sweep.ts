/**
 * Turns what MongoDB says is due into jobs. Its cost grows with what is due: every due date has a partial index. A claim
 * moves the date ahead, so that any number of sweepers share the work; when a claimed job gets lost with Redis, the
 * date comes round again. A missed tick is harmless.
 */

import { type JobName, PRIORITY } from '../shared/jobs.ts';
import { chunk, JOB_SIZE } from '../shared/queue.ts';
import { eventRow } from '../shared/schemas/events.ts';
import { toStoreError } from '../shared/store/commit.ts';
import type { WorkerDeps } from './job.ts';

type SweepDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'hints' | 'log' | 'config'>;

const CLAIM_SIZE = 1_000;
/** A claim is good for this long; then its work is due again. Milliseconds. */
const CLAIM_MS = 30_000;
/** So many jobs may wait in a queue before the sweep stops claiming for it: a backlog in MongoDB costs nothing. */
const MOST_WAITING = 400;

/** One look at everything that may be due. Resolves to the number of objects handed to workers. */
export async function sweep(deps: SweepDeps): Promise<number> {
  // Without Redis a claim would only delay the work.
  await deps.hints.ping();
  const counts = [await sweepCredentials(deps, 'refresh', 'refresh'), await sweepEvents(deps), await sweepInbox(deps)];
  return counts.reduce((sum, count) => sum + count, 0);
}

async function sweepCredentials(deps: SweepDeps, what: 'refresh' | 'rotate', queue: JobName): Promise<number> {
  let total = 0;
  while ((await deps.hints.waiting(queue)) < MOST_WAITING) {
    const claimed = await claimCredentials(deps, what);
    for (const [, group] of Map.groupBy(claimed, (doc) => doc.service)) {
      const ids = group.map((doc) => doc._id);
      await addWork(
        deps,
        queue,
        ids.length,
        chunk(ids, JOB_SIZE).map((credentialIds) => ({ credentialIds })),
      );
    }
    total += claimed.length;
    if (claimed.length < CLAIM_SIZE) break;
  }
  return total;
}

/** Claims up to `CLAIM_SIZE` credentials in three calls. Two sweepers never claim the same one. */
async function claimCredentials(deps: SweepDeps, what: 'refresh' | 'rotate') {
  const credentials = deps.database.collection('credentials');
  const [due, claim] = [`due.${what}`, `claimed.${what}`];
  const now = new Date(deps.clock.now());
  // Unique to the millisecond fraction of this claim: what was claimed is found again by it.
  const until = new Date(now.getTime() + CLAIM_MS + Math.floor(deps.random.fraction() * 10_000));
  try {
    const found = await credentials
      .find({ [due]: { $lte: now } }, { projection: { _id: 1 } })
      .sort({ [due]: 1 })
      .limit(CLAIM_SIZE)
      .toArray();
    if (found.length === 0) return [];
    const ids = found.map((doc) => doc._id);
    await credentials.updateMany({ _id: { $in: ids }, [due]: { $lte: now } }, [
      { $set: { [claim]: { $ifNull: [`$${claim}`, `$${due}`] }, [due]: until } },
    ]);
    return await credentials.find({ _id: { $in: ids }, [due]: until }, { projection: { service: 1 } }).toArray();
  } catch (error) {
    throw toStoreError(error);
  }
}

async function addWork(
  deps: SweepDeps,
  queue: JobName,
  count: number,
  payloads: { credentialIds?: string[]; eventIds?: string[] }[],
): Promise<void> {
  deps.log.debug({ queue, count }, 'due');
  const hints = payloads.map((payload) => ({ payload: { ...payload, reason: 'due' }, priority: PRIORITY.normal }));
  await deps.hints.add(queue as 'refresh', hints);
}

/** The relay: events that were accepted and whose hint was lost, and those that are to be tried again. */
async function sweepEvents(deps: SweepDeps): Promise<number> {
  const events = deps.database.collection('events');
  let total = 0;
  for (;;) {
    const now = new Date(deps.clock.now());
    const found = await events
      .find({ dueAt: { $lte: now } }, { projection: { type: 1 } })
      .sort({ dueAt: 1 })
      .limit(CLAIM_SIZE)
      .toArray();
    if (found.length === 0) return total;
    const ids = found.map((doc) => doc._id);
    const until = new Date(now.getTime() + CLAIM_MS);
    await events.updateMany({ _id: { $in: ids }, dueAt: { $lte: now } }, { $set: { dueAt: until } });
    for (const [queue, group] of Map.groupBy(found, (doc) => eventRow(doc.type)?.queue)) {
      if (!queue) continue;
      const parts = chunk(
        group.map((doc) => doc._id),
        JOB_SIZE,
      );
      await addWork(
        deps,
        queue,
        group.length,
        parts.map((eventIds) => ({ eventIds })),
      );
    }
    total += found.length;
    if (found.length < CLAIM_SIZE) return total;
  }
}

/** Tenants with entries that wait for their place in the chain. */
async function sweepInbox(deps: SweepDeps): Promise<number> {
  const tenants = await deps.database.collection('audit_inbox').distinct('tenantId');
  await deps.hints.add(
    'audit',
    tenants.map((tenantId) => ({ payload: { tenantId, reason: 'due' }, id: `audit-${tenantId}` })),
  );
  return tenants.length;
}
