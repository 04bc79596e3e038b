/**
 * The steps of a rotation: planned → minted → applied → verified → promoted → retired. Each is recorded before the next
 * begins and may be made again, so a rotation goes on where its record ends. The old secret goes last (promise 5).
 */

import { contextOf } from '../../keys/material.ts';
import { AppError } from '../../platform/errors.ts';
import type { CredentialDoc, RotationDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { credentialChange } from '../change.ts';
import { allows } from '../lifecycle.ts';
import { generationDue, generationFields, makeGeneration, placeGeneration } from '../secret-generation.ts';
import { mint } from './mint.ts';
import { makeCall, openPending, openPrevious, type Rotating, type StepContext } from './rotator-call.ts';
import {
  aboutRotation,
  afterLease,
  commitHeld,
  commitStep,
  forgetPending,
  overUntilPolicy,
  type StepRecord,
  settles,
} from './step-record.ts';

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

function isEnding(doc: CredentialDoc): boolean {
  return !allows('rotate', doc.state) || doc.blocked?.reason === 'revocation';
}

/** Why a rotation that is not promoted must end: the credential is being revoked, or has another secret already. */
function obstacleTo(doc: CredentialDoc, rotation: RotationDoc): 'conflict' | 'transition_refused' | null {
  if (isEnding(doc)) return 'transition_refused';
  return doc.generation === rotation.generation ? null : 'conflict';
}

async function apply(
  deps: WorkerDeps,
  doc: Rotating,
  { rotator, isFresh, signal }: StepContext,
): Promise<CredentialDoc> {
  const [call, next] = [await makeCall(deps, doc, signal), await openPending(deps, doc)];
  if (!isFresh(doc._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
  await rotator.apply(call, next);
  return commitStep(deps, doc, done(deps, 'applied'), signal);
}

async function verify(deps: WorkerDeps, doc: Rotating, { rotator, signal }: StepContext): Promise<CredentialDoc> {
  const [call, next] = [await makeCall(deps, doc, signal), await openPending(deps, doc)];
  if (!(await rotator.verify(call, next))) throw new AppError('rotation_unverified');
  return commitStep(deps, doc, done(deps, 'verified'), signal);
}

/** The record of a step that needs nothing but its name. */
function done(deps: WorkerDeps, step: 'applied' | 'verified'): StepRecord {
  const entry = { type: `credential.rotation_${step}` };
  return { rotation: { changes: { step, failures: 0 } }, dueAt: afterLease(deps), entry };
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
  const change = credentialChange(deps, doc, {
    transition: 'rotate',
    set: { ...generationFields(placed), ...settles(doc), rotation: promoted },
    due: { ...generationDue(placed), rotate: retireAt },
    expect: { fence: doc.fence },
    ...aboutRotation(deps, doc, {
      detail: { generation: next.generation, oldGoodUntil: retireAt.toISOString() },
    }),
  });
  const after = await commitHeld(deps, doc, change, signal);
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
  const after = await commitStep(deps, doc, { ...overUntilPolicy(deps, doc, { failed: false }), entry }, signal);
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
  if (doc.rotation.pending === null) {
    return commitStep(deps, doc, { ...overUntilPolicy(deps, doc, { failed: true }), entry }, signal);
  }
  const changes = { discard: { code, next: 'give_up' as const }, failures: 0 };
  return commitStep(deps, doc, { rotation: { changes }, dueAt: afterLease(deps), entry }, signal);
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
  const entry = { type: 'credential.rotation_discarded', reason: doc.rotation.discard?.code ?? null };
  const mintsAgain = doc.rotation.discard?.next === 'mint';
  const next = mintsAgain ? plannedAgain(deps, doc) : overUntilPolicy(deps, doc, { failed: true });
  const after = await commitStep(deps, doc, { ...next, entry }, signal);
  await forgetPending(deps, doc).catch((err) => warn(deps, doc, err));
  return after;
}

/** The same rotation at its beginning, for another secret. */
function plannedAgain(deps: WorkerDeps, { rotation }: Rotating): Omit<StepRecord, 'entry'> {
  const fresh = { step: 'planned' as const, pending: null, metadata: {}, discard: null, failures: 0, rejections: 0 };
  return { rotation: { ...rotation, ...fresh, attempt: rotation.attempt + 1 }, dueAt: afterLease(deps) };
}

/** What stays behind is only sealed, and belongs to nothing. */
function warn(deps: WorkerDeps, doc: CredentialDoc, err: unknown): void {
  deps.log.warn({ err, credentialId: doc._id }, 'a secret that is over was not deleted');
}
