/** What a lane writes: how each delivery stands, and how far the subscription has come. */
import type { Document } from 'mongodb';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import type { WorkerDeps } from '../work/job.ts';
import type { Task } from './delivery-queue.ts';
import { pauseAfter } from './retry-schedule.ts';
import type { DeliveryOutcome } from './sinks/contract.ts';

export type Settled = { task: Task; verdict: Exclude<DeliveryOutcome, { kind: 'interrupted' }> };

type RecordDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random'>;

/** The record of a success is kept for so long. */
const KEEP_MS = 7 * 24 * 3600_000;

/** The id of the delivery of one entry to one subscription: the same whoever attempts it. */
export function deliveryId(subscriptionId: string, seq: number): string {
  return `${subscriptionId.replace(/^sub_/, 'dlv_')}_${seq}`;
}

/** Records the outcomes of attempts. Before the cursor passes them: a failure that is not on record would be lost. */
export async function recordDeliveries(deps: RecordDeps, sub: SubscriptionDoc, settled: Settled[]): Promise<void> {
  if (settled.length === 0) return;
  const writes = settled.map(({ task, verdict }) => {
    const _id = deliveryId(sub._id, task.entry.seq);
    const { set, unset } = outcomeOf(deps, task, verdict);
    const first = { tenantId: sub.tenantId, subscriptionId: sub._id, seq: task.entry.seq };
    const update = {
      $set: { ...set, entryId: task.entry._id, type: task.entry.type },
      $unset: unset,
      $setOnInsert: first,
    };
    return { updateOne: { filter: { _id }, update, upsert: true } };
  });
  await deps.database.collection('deliveries').bulkWrite(writes as never, { ordered: false });
}

function outcomeOf(deps: RecordDeps, { delivery }: Task, verdict: Settled['verdict']) {
  const now = deps.clock.now();
  const at = new Date(now);
  const attempts = (delivery?.attempts ?? 0) + 1;
  const base = { attempts, firstAttemptAt: delivery?.firstAttemptAt ?? at, lastAttemptAt: at };
  if (verdict.kind === 'delivered') {
    const set = { ...base, status: 'delivered', lastError: null, expireAt: new Date(now + KEEP_MS) };
    return { set, unset: { nextAttemptAt: '' } };
  }
  const lastError = { reason: verdict.reason, status: verdict.status ?? null };
  const wish = verdict.kind === 'retry' ? verdict.retryAfterMs : undefined;
  const pause = verdict.kind === 'refuse' ? null : pauseAfter(attempts, wish, deps.random.fraction());
  if (pause === null) {
    return { set: { ...base, status: 'parked', lastError }, unset: { nextAttemptAt: '', expireAt: '' } };
  }
  const set = { ...base, status: 'retrying', lastError, nextAttemptAt: new Date(now + pause) };
  return { set, unset: { expireAt: '' } };
}

/**
 * Writes fields of a subscription that this lane still holds. Null when it was changed meanwhile (replayed, paused) or is in
 * other hands; what is then left to do is due at once.
 */
export async function saveSubscription(
  deps: RecordDeps,
  sub: SubscriptionDoc,
  fields: Document,
): Promise<SubscriptionDoc | null> {
  const subscriptions = deps.database.collection('subscriptions');
  const { _id, tenantId, fence, cursor } = sub;
  const held = { _id, tenantId, fence, state: 'active' as const };
  const saved = await subscriptions.findOneAndUpdate({ ...held, cursor }, [{ $set: fields }], {
    returnDocument: 'after',
  });
  if (!saved) await subscriptions.updateOne(held, { $set: { dueAt: new Date(deps.clock.now()) } });
  return saved;
}
