/** Events that ask for a rotation: which of them one fulfils, and how they are settled. */

import { settleEvents } from '../../events/settling.ts';
import { AppError } from '../../platform/errors.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { askedOverlap, ROTATABLE } from './steps.ts';

const SHORTEST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;

/** An event asks for a state of affairs: a new secret since it was accepted. Whoever brought it about. */
export function isFulfilled(doc: CredentialDoc, event: EventDoc): boolean {
  return doc.secretChangedAt !== null && doc.secretChangedAt >= event.receivedAt;
}

/** The request that counts most for a credential: of those open, the one with the shortest overlap. */
export function strictest(doc: CredentialDoc, events: EventDoc[]): EventDoc | undefined {
  const open = events.filter(
    (event) => event.credentialId === doc._id && event.tenantId === doc.tenantId && !isFulfilled(doc, event),
  );
  const overlap = (event: EventDoc) => askedOverlap(event) ?? Number.POSITIVE_INFINITY;
  return open.toSorted((a, b) => overlap(a) - overlap(b))[0];
}

/**
 * Settles what can be settled. A request succeeds at the promotion, not at the retirement: from then on the new secret is
 * what is released, and nothing that can still happen takes it back. It is parked when the rotation was given up.
 */
export async function settleRequests(
  deps: WorkerDeps,
  events: EventDoc[],
  refusals: ReadonlyMap<string, AppError>,
): Promise<void> {
  const ids = [...new Set(events.map((event) => event.credentialId as string))];
  const docs = await findCredentials(deps, ids);
  const byId = new Map(docs.map((doc) => [doc._id, doc]));
  await settleEvents(
    deps,
    events.map((event) => {
      const id = event.credentialId as string;
      return { event, error: judge(deps, event, byId.get(id), refusals.get(id)) };
    }),
  );
}

/** Credentials by id. Throws `store_unavailable`. */
export async function findCredentials(deps: Pick<WorkerDeps, 'database'>, ids: string[]): Promise<CredentialDoc[]> {
  if (ids.length === 0) return [];
  return await deps.database
    .collection('credentials')
    .find({ _id: { $in: ids } })
    .toArray();
}

function judge(
  deps: Pick<WorkerDeps, 'clock'>,
  event: EventDoc,
  doc: CredentialDoc | undefined,
  refusal: AppError | undefined,
): AppError | null {
  if (!doc || doc.tenantId !== event.tenantId) return new AppError('not_found');
  if (isFulfilled(doc, event)) return null;
  const gaveUp = doc.rotation?.discard?.next === 'give_up' ? doc.rotation.discard.code : undefined;
  if (refusal) return refusal;
  if (gaveUp && doc.rotation?.eventId === event._id) return givenUp(gaveUp);
  if (!ROTATABLE.includes(doc.state)) {
    return new AppError('transition_refused', {
      detail: `The credential is ${doc.state}; it must be ${ROTATABLE.join(' or ')} to be rotated.`,
    });
  }
  const step = doc.rotation?.step;
  const waitMs = (doc.due.rotate?.getTime() ?? 0) - deps.clock.now();
  return new AppError('rotation_pending', {
    detail: step === 'promoted' ? 'The overlap of the rotation before lasts.' : `The rotation is ${step ?? 'waiting'}.`,
    retryAfterMs: Math.min(LONGEST_WAIT_MS, Math.max(SHORTEST_WAIT_MS, waitMs)),
  });
}

/** What a request learns of a rotation that was given up. */
export function givenUp(reason: string): AppError {
  return new AppError('rotation_given_up', {
    detail: `The rotation was given up (${reason}); the old secret is still good. See the credential's audit entries.`,
  });
}
