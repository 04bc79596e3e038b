/** Tells subscriptions that there is something for them. */
import { toAppError } from '../platform/errors.ts';
import { claimForNewEntries } from '../store/delivery/subscriptions.ts';
import type { WorkerDeps } from '../work/job.ts';

type NotifyDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'hints' | 'log' | 'config'>;

/** Spreads over this time what was claimed together. */
const JITTER_MS = 1_000;

/**
 * Tells the active subscriptions of a tenant that there are entries up to `seq`. They are claimed as the sweep would do it:
 * if their hints get lost, they are due again. One that is busy notices when it is done. A retry that is due in hours does
 * not hold up what is new; a consumer that is down is not hurried.
 */
export async function notifySubscriptions(deps: NotifyDeps, tenantId: string, seq: number): Promise<void> {
  const now = deps.clock.now();
  // As long as the lease of a delivery: when its worker dies, it is due as soon as another may take it.
  const claimMs = deps.config.leaseMs + Math.floor(deps.random.fraction() * JITTER_MS);
  const claimed = await claimForNewEntries(deps.database, {
    tenantId,
    seq,
    now: new Date(now),
    claimedUntil: new Date(now + claimMs),
  });
  await sendDeliverHints(deps, claimed);
}

/**
 * A job for each, so that none waits for another; without an id, so that it is added while an earlier one is about to end.
 * Never throws: the sweep finds what was not taken.
 */
async function sendDeliverHints(deps: Pick<NotifyDeps, 'hints' | 'log'>, ids: string[]): Promise<void> {
  const hints = ids.map((id) => ({ payload: { ids: [id], reason: 'new_entries' } }));
  if (hints.length === 0) return;
  try {
    await deps.hints.add('deliver', hints);
  } catch (error) {
    deps.log.warn({ code: toAppError(error).code }, 'hints to deliver were not taken; the sweep finds the work');
  }
}
