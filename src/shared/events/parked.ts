/** What a person decides on a parked event: it is worked on again, or given up. For the API and the command line. */

import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { makeEntry } from '../store/entry.ts';
import { type EventDoc, findEvent } from '../store/lifecycle/events.ts';

export type ParkedDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit'>;

/** Which event it is, and who decides on it. */
export type Decision = { tenantId: string; eventId: string; actor: Entry['actor'] };

/**
 * Has a parked event worked on again as if it had just come; the sweep finds it. Resolves to the event as it was.
 * Throws `not_found`, `transition_refused`.
 */
export async function retryParked(deps: ParkedDeps, decision: Decision): Promise<EventDoc> {
  const now = new Date(deps.clock.now());
  const set = { status: 'accepted', attempts: 0, problem: null, dueAt: now };
  return decide(deps, decision, { type: 'event.retried', set: { $set: set } });
}

/**
 * Gives a parked event up: it counts as failed with the problem that it was parked for, and its secrets are deleted.
 * Resolves to the event as it was. Throws `not_found`, `transition_refused`.
 */
export async function discardParked(deps: ParkedDeps, decision: Decision): Promise<EventDoc> {
  const set = { status: 'failed', settledAt: new Date(deps.clock.now()), sealed: null };
  return decide(deps, decision, { type: 'event.discarded', set: { $set: set } });
}

/** Commits the decision together with its entry, on condition that the event is parked still and nobody else holds it. */
async function decide(
  deps: ParkedDeps,
  { tenantId, eventId, actor }: Decision,
  { type, set }: { type: string; set: { $set: object } },
): Promise<EventDoc> {
  const doc = await readEvent(deps, tenantId, eventId);
  const { service, subject } = doc.data as { service?: string; subject?: string };
  const outcome = await deps.commit({
    operations: [{ in: 'events', update: { _id: eventId, tenantId, status: 'parked', fence: doc.fence }, set }],
    entries: [
      makeEntry(deps, {
        tenantId,
        type,
        actor,
        eventId,
        credentialId: doc.credentialId,
        service: service ?? null,
        subject: subject ?? null,
        reason: doc.problem?.code ?? null,
        detail: { eventType: doc.type, attempts: doc.attempts },
      }),
    ],
  });
  if (outcome !== 'committed') throw notParked((await readEvent(deps, tenantId, eventId)).status);
  return doc;
}

async function readEvent({ database }: ParkedDeps, tenantId: string, id: string): Promise<EventDoc> {
  const doc = await findEvent(database, { tenantId, id });
  if (!doc) throw new AppError('not_found');
  return doc;
}

function notParked(status: string): AppError {
  return new AppError('transition_refused', {
    detail: `The event is ${status}; only a parked one waits for a decision.`,
  });
}
