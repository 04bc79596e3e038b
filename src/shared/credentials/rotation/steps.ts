/**
 * The steps of a rotation: planned → minted → applied → verified → promoted → retired. Each is recorded before the next
 * begins and may be made again, so a rotation goes on where its record ends. The old secret goes last (promise 5).
 */

import { contextOf } from '../../keys/material.ts';
import { AppError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { CredentialDoc, RotationDoc } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { TRANSITIONS } from '../lifecycle.ts';
import { generationUpdate, makeGeneration, placeGeneration } from '../secret-generation.ts';
import { makeCall, openPending, openPrevious, type Rotating, type StepContext } from './call.ts';
import { afterLease, commitStep, DEFAULT_OVERLAP_MS, forgetPending, nextByPolicy } from './commit.ts';
import { mint } from './mint.ts';

/** One step: calls the other side, commits, and resolves to the credential after it. Throws `AppError`. */
export type Step = (deps: WorkerDeps, doc: Rotating, context: StepContext) => Promise<CredentialDoc>;

/** What is done next, by the step that is on record. */
const STEPS: Record<RotationDoc['step'], Step> = {
  planned: mint,
  minted: apply,
  applied: verify,
  verified: promote,
  promoted: retire,
};

/** The step that is due now, or null: there is no rotation, or its overlap lasts. */
export function nextStep(doc: CredentialDoc, now: number): Step | null {
  const { rotation } = doc;
  if (!rotation) return null;
  if (rotation.discard) return discard;
  if (rotation.step !== 'promoted') return obstacleTo(doc, rotation) ? refuse : STEPS[rotation.step];
  const overlaps = rotation.retireAt !== null && rotation.retireAt.getTime() > now;
  return overlaps && !isEnding(doc) ? null : retire;
}

/** States in which a credential is rotated. A quarantined one may be, and stays quarantined: that is how a leak is mended. */
export const ROTATABLE: readonly CredentialDoc['state'][] = ['active', 'quarantined'];

function isEnding(doc: CredentialDoc): boolean {
  return !ROTATABLE.includes(doc.state) || doc.blocked?.reason === 'revocation';
}

/** Why a rotation that is not promoted must end: the credential is being revoked, or has another secret already. */
function obstacleTo(doc: CredentialDoc, rotation: RotationDoc): 'conflict' | 'transition_refused' | null {
  if (isEnding(doc)) return 'transition_refused';
  return doc.generation === rotation.generation ? null : 'conflict';
}

/** Writes down what is about to happen, before anyone is called. */
export function plan(
  deps: WorkerDeps,
  doc: CredentialDoc,
  { rotator, event, signal }: Pick<StepContext, 'rotator' | 'signal'> & { event: EventDoc | undefined },
): Promise<CredentialDoc> {
  const rotation: RotationDoc = {
    id: newId('rotation', deps),
    rotator: rotator.name,
    step: 'planned',
    eventId: event?._id ?? null,
    generation: doc.generation,
    attempt: 1,
    pending: null,
    metadata: {},
    expiresAt: null,
    previous: null,
    previousMetadata: doc.metadata,
    overlapMs: askedOverlap(event) ?? doc.policy.overlapMs ?? DEFAULT_OVERLAP_MS,
    failures: 0,
    rejections: 0,
    discard: null,
    startedAt: new Date(deps.clock.now()),
    retireAt: null,
  };
  const said = typeof event?.data.reason === 'string' ? event.data.reason : null;
  const detail = { rotationId: rotation.id, rotator: rotator.name, cause: event?.type ?? 'policy', said };
  const entry = { type: 'credential.rotation_planned', eventId: rotation.eventId, detail };
  return commitStep(deps, doc, { set: { rotation }, dueAt: afterLease(deps), entry }, signal);
}

/** The overlap that a request asks for, in milliseconds. */
export function askedOverlap(event: EventDoc | undefined): number | undefined {
  const seconds = event?.data.overlapSeconds;
  return typeof seconds === 'number' ? seconds * 1000 : undefined;
}

/** Whether a request shortens the overlap of a rotation under way, as one after a leak does. */
export function hurries(rotation: RotationDoc, event: EventDoc): boolean {
  return (askedOverlap(event) ?? Number.POSITIVE_INFINITY) < rotation.overlapMs;
}

/** Shortens the overlap where the request wants it shorter; else the credential as it was. */
export async function hurry(
  deps: WorkerDeps,
  doc: Rotating,
  event: EventDoc,
  signal: AbortSignal,
): Promise<CredentialDoc> {
  const { rotation } = doc;
  if (!hurries(rotation, event)) return doc;
  const overlapMs = askedOverlap(event) ?? rotation.overlapMs;
  const latest = deps.clock.now() + overlapMs;
  const retireAt = rotation.retireAt && new Date(Math.min(rotation.retireAt.getTime(), latest));
  const set = { 'rotation.overlapMs': overlapMs, 'rotation.retireAt': retireAt };
  const entry = { type: 'credential.rotation_hurried', eventId: event._id, detail: { overlapMs } };
  return commitStep(deps, doc, { set, dueAt: retireAt ?? afterLease(deps), entry }, signal);
}

async function apply(
  deps: WorkerDeps,
  doc: Rotating,
  { rotator, isFresh, signal }: StepContext,
): Promise<CredentialDoc> {
  const [call, next] = [await makeCall(deps, doc, signal), await openPending(deps, doc)];
  if (!isFresh(doc._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
  await rotator.apply(call, next);
  const set = { 'rotation.step': 'applied', 'rotation.failures': 0 };
  return commitStep(
    deps,
    doc,
    { set, dueAt: afterLease(deps), entry: { type: 'credential.rotation_applied' } },
    signal,
  );
}

async function verify(deps: WorkerDeps, doc: Rotating, { rotator, signal }: StepContext): Promise<CredentialDoc> {
  const [call, next] = [await makeCall(deps, doc, signal), await openPending(deps, doc)];
  if (!(await rotator.verify(call, next))) throw new AppError('rotation_unverified');
  const set = { 'rotation.step': 'verified', 'rotation.failures': 0 };
  return commitStep(
    deps,
    doc,
    { set, dueAt: afterLease(deps), entry: { type: 'credential.rotation_verified' } },
    signal,
  );
}

/** The new secret becomes the credential's next generation: from this commit on it is what is released. */
async function promote(deps: WorkerDeps, doc: Rotating, { signal }: StepContext): Promise<CredentialDoc> {
  const { rotation } = doc;
  const { material } = await openPending(deps, doc);
  const next = await makeGeneration(deps, deps.providers.get(doc.service), doc, {
    material,
    tokenType: doc.tokenType,
    expiresAt: rotation.expiresAt?.getTime() ?? null,
    refreshExpiresAt: null,
    scopes: null,
    metadata: rotation.metadata,
  });
  const placed = await placeGeneration(deps, doc, next);
  const retireAt = new Date(next.at + rotation.overlapMs);
  const promoted: RotationDoc = {
    ...rotation,
    step: 'promoted',
    pending: null,
    previous: doc.secret,
    failures: 0,
    retireAt,
  };
  // No state here: a credential that was quarantined meanwhile has its new secret, and stays quarantined.
  const { $set, $unset } = generationUpdate(placed, { rotation: promoted });
  const detail = { generation: next.generation, oldGoodUntil: retireAt.toISOString() };
  const entry = { type: TRANSITIONS.rotate.entry, detail };
  const after = await commitStep(deps, doc, { set: $set, unset: $unset, dueAt: retireAt, entry }, signal);
  await forgetPending(deps, doc).catch((err) => warn(deps, doc, err));
  return after;
}

/** Ends the old secret at the other side, then here. */
async function retire(
  deps: WorkerDeps,
  doc: Rotating,
  { rotator, isFresh, signal }: StepContext,
): Promise<CredentialDoc> {
  const [call, old] = [await makeCall(deps, doc, signal), await openPrevious(deps, doc)];
  if (!isFresh(doc._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
  await rotator.retire(call, old);
  const { previous, generation } = doc.rotation;
  const entry = { type: 'credential.rotation_retired', detail: { generation } };
  const dueAt = nextByPolicy(deps, doc, false);
  const after = await commitStep(deps, doc, { set: { rotation: null }, dueAt, entry }, signal);
  await deps.secrets
    .delete([{ context: contextOf(doc, generation), stored: previous! }])
    .catch((err) => warn(deps, doc, err));
  return after;
}

/** The rotation cannot go on: the new secret ends, the old one stays what it was. */
function refuse(deps: WorkerDeps, doc: Rotating, { signal }: StepContext): Promise<CredentialDoc> {
  const code = obstacleTo(doc, doc.rotation)!;
  return giveUp(deps, doc, code, signal);
}

/** Records that the pending secret is not to be used. Without one the rotation is over at once. */
export function giveUp(
  deps: WorkerDeps,
  doc: Rotating,
  code: NonNullable<RotationDoc['discard']>['code'],
  signal: AbortSignal,
): Promise<CredentialDoc> {
  const entry = {
    type: 'credential.rotation_given_up',
    outcome: 'failure' as const,
    reason: code,
    detail: { step: doc.rotation.step },
  };
  const over = doc.rotation.pending === null;
  const set = over ? { rotation: null } : { 'rotation.discard': { code, next: 'give_up' }, 'rotation.failures': 0 };
  const dueAt = over ? nextByPolicy(deps, doc, true) : afterLease(deps);
  return commitStep(deps, doc, { set, dueAt, entry }, signal);
}

/** Ends the pending secret at the other side, wherever it came to; then another is minted, or the rotation is over. */
async function discard(
  deps: WorkerDeps,
  doc: Rotating,
  { rotator, isFresh, signal }: StepContext,
): Promise<CredentialDoc> {
  const [call, pending] = [await makeCall(deps, doc, signal), await openPending(deps, doc)];
  if (!isFresh(doc._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
  await rotator.retire(call, pending);
  const { attempt } = doc.rotation;
  const again = doc.rotation.discard?.next === 'mint';
  const fresh = { step: 'planned', pending: null, metadata: {}, discard: null, failures: 0, rejections: 0 };
  const set = { rotation: again ? { ...doc.rotation, ...fresh, attempt: attempt + 1 } : null };
  const dueAt = again ? afterLease(deps) : nextByPolicy(deps, doc, true);
  const entry = { type: 'credential.rotation_discarded', reason: doc.rotation.discard?.code ?? null };
  const after = await commitStep(deps, doc, { set, dueAt, entry }, signal);
  await forgetPending(deps, doc).catch((err) => warn(deps, doc, err));
  return after;
}

/** What stays behind is only sealed, and belongs to nothing. */
function warn(deps: WorkerDeps, doc: CredentialDoc, err: unknown): void {
  deps.log.warn({ err, credentialId: doc._id }, 'a secret that is over was not deleted');
}
