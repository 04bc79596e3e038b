import { toAppError } from '../shared/errors.ts';
import { toStoreError } from '../shared/store/commit.ts';
import type { WorkerDeps } from './job.ts';

type WakeDeps = Pick<WorkerDeps, 'database' | 'clock' | 'hints' | 'log'>;

/**
 * Tells the active subscriptions of a tenant that there are entries up to `seq`. One that is busy or waits for its consumer
 * is not hurried. Without Redis the due dates stand, and the sweep finds them.
 */
export async function wakeSubscriptions(deps: WakeDeps, tenantId: string, seq: number): Promise<void> {
  const subscriptions = deps.database.collection('subscriptions');
  const now = new Date(deps.clock.now());
  try {
    const woken = await subscriptions.updateMany({ tenantId, state: 'active', wantedSeq: { $lt: seq } }, [
      { $set: { wantedSeq: seq, dueAt: { $ifNull: ['$dueAt', now] } } },
    ]);
    if (woken.matchedCount === 0) return;
    const due = await subscriptions
      .find({ tenantId, state: 'active', dueAt: { $lte: now } }, { projection: { _id: 1 } })
      .toArray();
    await sendDeliverHints(
      deps,
      due.map((doc) => doc._id),
    );
  } catch (error) {
    throw toStoreError(error);
  }
}

/** A job for each, so that none waits for another. Never throws: the sweep finds what was not taken. */
export async function sendDeliverHints(deps: Pick<WakeDeps, 'hints' | 'log'>, ids: string[]): Promise<void> {
  const hints = ids.map((id) => ({ payload: { ids: [id], reason: 'woken' }, id: `deliver-${id}` }));
  if (hints.length === 0) return;
  try {
    await deps.hints.add('deliver', hints);
  } catch (error) {
    deps.log.warn({ code: toAppError(error).code }, 'hints to deliver were not taken; the sweep finds the work');
  }
}
