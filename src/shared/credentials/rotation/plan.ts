/** How a rotation begins, and how a later request makes it end sooner. */

import { newId } from '../../platform/ids.ts';
import type { CredentialDoc, RotationDoc } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { Rotating, StepContext } from './rotator-call.ts';
import { afterLease, commitStep } from './step-record.ts';

/** How long the old secret stays good beside the new one where neither the request nor the policy says so. */
const DEFAULT_OVERLAP_MS = 3_600_000;

/** Records that a rotation begins, before anyone is called. Throws as `commitStep`. */
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
  return commitStep(deps, doc, { rotation, dueAt: afterLease(deps), entry }, signal);
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

/** Shortens the overlap where the request wants it shorter; else resolves to the credential as it was. Throws as `commitStep`. */
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
  const entry = { type: 'credential.rotation_hurried', eventId: event._id, detail: { overlapMs } };
  const record = { rotation: { changes: { overlapMs, retireAt } }, dueAt: retireAt ?? afterLease(deps), entry };
  return commitStep(deps, doc, record, signal);
}
