/** What becomes of an event when its work has ended or failed: it is settled, tried again later, or waits for a person. */

import { backoff } from '../platform/backoff.ts';
import type { AppError } from '../platform/errors.ts';
import { type EventDoc, type EventUpdate, updateOpenEvents } from '../store/lifecycle/events.ts';
import type { WorkerDeps } from '../work/job.ts';

/** After this many attempts an event waits for a person. */
const MAX_ATTEMPTS = 20;

/** The update of an event that is over, for a change that it is part of. `error` null: it succeeded. */
export function settled(deps: Pick<WorkerDeps, 'clock'>, error: AppError | null) {
  return {
    $set: {
      status: error ? ('failed' as const) : ('succeeded' as const),
      problem: error ? { code: error.code, detail: error.message } : null,
      settledAt: new Date(deps.clock.now()),
      lease: null,
      interrupted: null,
    },
    $unset: { dueAt: '' as const },
  };
}

/** The update of an event whose work failed: as the error's row in the table says, it is over, tried again, or parked. */
export function settledOrPostponed(
  deps: Pick<WorkerDeps, 'clock' | 'random'>,
  event: EventDoc,
  error: AppError | null,
): EventUpdate {
  return error === null || error.retry === 'never' ? settled(deps, error) : postponed(deps, event, error);
}

/** Tried again, or parked after the last attempt or when the error says so. */
function postponed(deps: Pick<WorkerDeps, 'clock' | 'random'>, event: EventDoc, error: AppError): EventUpdate {
  const isCounted = error.retry !== 'later';
  const attempts = event.attempts + (isCounted ? 1 : 0);
  const problem = { code: error.code, detail: error.message };
  if (error.retry === 'park' || attempts >= MAX_ATTEMPTS) {
    return { $set: { status: 'parked', attempts, problem, lease: null }, $unset: { dueAt: '' } };
  }
  const delayMs = error.retryAfterMs ?? backoff(Math.max(1, attempts), deps.random.fraction());
  const dueAt = new Date(deps.clock.now() + delayMs);
  return { $set: { status: 'processing', attempts, problem, lease: null, dueAt } };
}

/** Settles or postpones events that are not part of another change. One that somebody else has settled stays so. */
export async function settleEvents(
  deps: Pick<WorkerDeps, 'database' | 'clock' | 'random'>,
  results: { event: EventDoc; error: AppError | null }[],
): Promise<void> {
  const writes = results.map(({ event, error }) => ({ event, update: settledOrPostponed(deps, event, error) }));
  await updateOpenEvents(deps.database, writes);
}
