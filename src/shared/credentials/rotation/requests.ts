/** Events that ask for a rotation: which of them one fulfils, and how they are settled. */

import { settleEvents } from '../../events/settling.ts';
import { AppError } from '../../platform/errors.ts';
import { type CredentialDoc, findCredentialsById } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { allows, TRANSITIONS } from '../lifecycle.ts';
import { askedOverlap } from './plan.ts';

const MIN_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;

/** An event asks that the credential gets a new secret after its acceptance. Any rotation or import since fulfils it. */
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
 * Settles requests as far as their rotation has come. A request succeeds at the promotion, not at the retirement: from then on
 * the new secret is released, and nothing takes it back. It is parked when the rotation was given up.
 */
export async function settleRequests(
  deps: WorkerDeps,
  events: EventDoc[],
  refusals: ReadonlyMap<string, AppError>,
): Promise<void> {
  const ids = [...new Set(events.map((event) => event.credentialId as string))];
  const docs = await findCredentialsById(deps.database, ids);
  const byId = new Map(docs.map((doc) => [doc._id, doc]));
  await settleEvents(
    deps,
    events.map((event) => {
      const id = event.credentialId as string;
      return { event, error: judge(deps, event, byId.get(id), refusals.get(id)) };
    }),
  );
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
  if (!allows('rotate', doc.state)) {
    return new AppError('transition_refused', {
      detail: `The credential is ${doc.state}; it must be ${TRANSITIONS.rotate.from.join(' or ')} to be rotated.`,
    });
  }
  const step = doc.rotation?.step;
  const waitMs = (doc.due.rotate?.getTime() ?? 0) - deps.clock.now();
  return new AppError('rotation_pending', {
    detail: step === 'promoted' ? 'The overlap of the rotation before lasts.' : `The rotation is ${step ?? 'waiting'}.`,
    retryAfterMs: Math.min(MAX_WAIT_MS, Math.max(MIN_WAIT_MS, waitMs)),
  });
}

/** The problem of a request whose rotation was given up. */
export function givenUp(reason: string): AppError {
  return new AppError('rotation_given_up', {
    detail: `The rotation was given up (${reason}); the old secret is still good. See the credential's audit entries.`,
  });
}
