import { toAppError } from '../platform/errors.ts';
import type { WorkerDeps } from '../work/job.ts';

type WakeDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'hints' | 'log' | 'config'>;

/** Spreads what was woken together. Milliseconds. */
const JITTER_MS = 1_000;

/**
 * Tells the active subscriptions of a tenant that there are entries up to `seq`. They are claimed as the sweep would do it:
 * if their hints get lost, they are due again. One that is busy notices when it is done.
 */
export async function notifySubscriptions(deps: WakeDeps, tenantId: string, seq: number): Promise<void> {
  const subscriptions = deps.database.collection('subscriptions');
  const jitter = Math.floor(deps.random.fraction() * JITTER_MS);
  // As long as a lane's lease: when its worker dies, it is due as soon as another may take it.
  const now = new Date(deps.clock.now());
  const claim = new Date(now.getTime() + deps.config.leaseMs + jitter);
  // A retry that is due in hours does not hold up what is new; a consumer that is down is not hurried.
  const isResting = { $gt: ['$notBefore', now] };
  const woken = await subscriptions.updateMany({ tenantId, state: 'active', wantedSeq: { $lt: seq } }, [
    { $set: { wantedSeq: seq, dueAt: { $cond: [isResting, '$dueAt', claim] } } },
  ]);
  if (woken.matchedCount === 0) return;
  const idle = await subscriptions.find({ tenantId, dueAt: claim }, { projection: { _id: 1 } }).toArray();
  await sendDeliverHints(
    deps,
    idle.map((doc) => doc._id),
  );
}

/**
 * A job for each, so that none waits for another; without an id, so that it is added while an earlier one is about to end.
 * Never throws: the sweep finds what was not taken.
 */
export async function sendDeliverHints(deps: Pick<WakeDeps, 'hints' | 'log'>, ids: string[]): Promise<void> {
  const hints = ids.map((id) => ({ payload: { ids: [id], reason: 'woken' } }));
  if (hints.length === 0) return;
  try {
    await deps.hints.add('deliver', hints);
  } catch (error) {
    deps.log.warn({ code: toAppError(error).code }, 'hints to deliver were not taken; the sweep finds the work');
  }
}
