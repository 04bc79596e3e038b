/** What processors do with the events that asked for their work. */

import { backoff } from '../platform/backoff.ts';
import type { AppError } from '../platform/errors.ts';
import type { EventDoc, EventStatus } from '../store/lifecycle/events.ts';
import type { WorkerDeps } from '../work/job.ts';

export const OPEN_STATUSES: EventStatus[] = ['accepted', 'processing'];

/** After so many attempts an event waits for a person. */
const MAX_ATTEMPTS = 20;

type EventDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random'>;

/** The events among `ids` that are not settled yet. */
export async function openEvents(deps: Pick<WorkerDeps, 'database'>, ids: string[]): Promise<EventDoc[]> {
  if (ids.length === 0) return [];
  return await deps.database
    .collection('events')
    .find({ _id: { $in: ids }, status: { $in: OPEN_STATUSES } })
    .toArray();
}

/** The fields of an event that is over, for a write of one's own. */
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

/** The fields of an event that is to be tried again, or parked when that was often enough or its error says so. */
export function postponed(deps: Pick<WorkerDeps, 'clock' | 'random'>, event: EventDoc, error: AppError) {
  const counts = error.retry !== 'later';
  const attempts = event.attempts + (counts ? 1 : 0);
  const problem = { code: error.code, detail: error.message };
  if (error.retry === 'park' || attempts >= MAX_ATTEMPTS) {
    return { $set: { status: 'parked' as const, attempts, problem, lease: null }, $unset: { dueAt: '' as const } };
  }
  const delayMs = error.retryAfterMs ?? backoff(Math.max(1, attempts), deps.random.fraction());
  const dueAt = new Date(deps.clock.now() + delayMs);
  return { $set: { status: 'processing' as const, attempts, problem, lease: null, dueAt } };
}

/** Settles an event, or has it tried again: as the error's row in the table says. */
export function verdictOn(deps: Pick<WorkerDeps, 'clock' | 'random'>, event: EventDoc, error: AppError | null) {
  return error === null || error.retry === 'never' ? settled(deps, error) : postponed(deps, event, error);
}

/** Writes verdicts on events that are not part of another change. An event that someone else has settled stays so. */
export async function settleEvents(
  deps: EventDeps,
  verdicts: { event: EventDoc; error: AppError | null }[],
): Promise<void> {
  if (verdicts.length === 0) return;
  const writes = verdicts.map(({ event, error }) => ({
    updateOne: {
      filter: { _id: event._id, tenantId: event.tenantId, status: { $in: OPEN_STATUSES } },
      update: verdictOn(deps, event, error),
    },
  }));
  await deps.database.collection('events').bulkWrite(writes, { ordered: false });
}
