/** How an attempt ended, as it is written down: a delivery of its own for each entry that was tried. */
import { type DeliveryDoc, saveDeliveries } from '../store/delivery/deliveries.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import type { WorkerDeps } from '../work/job.ts';
import type { Task } from './queue.ts';
import { pauseAfter } from './retry-schedule.ts';
import type { DeliveryOutcome } from './sinks/contract.ts';

/** A task that was tried, and how that ended. */
export type Settled = { task: Task; outcome: Exclude<DeliveryOutcome, { kind: 'interrupted' }> };

type RecordDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random'>;

/** The record of a success is kept for a week. */
const KEEP_MS = 7 * 24 * 3600_000;

/** The id of the delivery of one entry to one subscription: every process that attempts it makes the same. */
export function deliveryId(subscriptionId: string, seq: number): string {
  return `${subscriptionId.replace(/^sub_/, 'dlv_')}_${seq}`;
}

/** Records how attempts ended. To be done before the cursor passes them: a failure that is not on record would be lost. */
export async function recordOutcomes(deps: RecordDeps, sub: SubscriptionDoc, settled: Settled[]): Promise<void> {
  const docs = settled.map((one) => deliveryOf(deps, sub, one));
  await saveDeliveries(deps.database, docs);
}

function deliveryOf(
  deps: RecordDeps,
  { _id: subscriptionId, tenantId }: SubscriptionDoc,
  { task: { entry, delivery }, outcome }: Settled,
): DeliveryDoc {
  const at = new Date(deps.clock.now());
  const attempts = (delivery?.attempts ?? 0) + 1;
  return {
    _id: deliveryId(subscriptionId, entry.seq),
    tenantId,
    subscriptionId,
    seq: entry.seq,
    entryId: entry._id,
    type: entry.type,
    attempts,
    firstAttemptAt: delivery?.firstAttemptAt ?? at,
    lastAttemptAt: at,
    ...standingOf(deps, attempts, outcome),
  };
}

type Standing = Pick<DeliveryDoc, 'status' | 'lastError' | 'nextAttemptAt' | 'expireAt'>;

/** How the delivery stands after `attempts`, the one with this outcome included. */
function standingOf({ clock, random }: RecordDeps, attempts: number, outcome: Settled['outcome']): Standing {
  const now = clock.now();
  if (outcome.kind === 'delivered') {
    return { status: 'delivered', lastError: null, expireAt: new Date(now + KEEP_MS) };
  }
  const lastError = { reason: outcome.reason, status: outcome.status ?? null };
  const wishMs = outcome.kind === 'retry' ? outcome.retryAfterMs : undefined;
  const pauseMs = outcome.kind === 'refuse' ? null : pauseAfter(attempts, wishMs, random.fraction());
  if (pauseMs === null) return { status: 'parked', lastError };
  return { status: 'retrying', lastError, nextAttemptAt: new Date(now + pauseMs) };
}
