/** How a step of a rotation becomes durable: with its entry, under the lease (promises 3, 4 and 6). */

import { AppError } from '../../platform/errors.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { Change } from '../../store/commit.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import {
  type CredentialDoc,
  findHeldCredential,
  type RotationDoc,
  rotationFields,
} from '../../store/lifecycle/credentials.ts';
import { datesUpdate } from '../../store/lifecycle/credentials-due.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { persist } from '../../work/outages.ts';
import { nextRotation } from '../schedule.ts';
import type { Rotating } from './rotator-call.ts';

/** When a policy of rotation cannot be followed, it is looked at again after this long. */
const LOOK_AGAIN_MS = 86_400_000;

type StepEntry = Pick<Entry, 'type'> & Partial<Pick<Entry, 'outcome' | 'reason' | 'detail' | 'eventId'>>;

export type StepRecord = {
  /** The whole rotation where it begins or ends (null), else the fields that the step changes. */
  rotation: RotationDoc | null | { changes: Partial<RotationDoc> };
  /** When the rotation goes on; null: there is nothing left to do. */
  dueAt: Date | null;
  entry: StepEntry;
  /** The date depends on the state: it must still be as it was read. */
  whileState?: boolean;
};

/** Commits one step, no transition, and resolves to the credential after it. Throws `interrupted` when the lease is lost. */
export function commitStep(
  deps: WorkerDeps,
  doc: CredentialDoc,
  record: StepRecord,
  signal: AbortSignal,
): Promise<CredentialDoc> {
  return commitHeld(deps, doc, stepChange(deps, doc, record), signal);
}

/**
 * Commits a change of a held credential and resolves to the credential after it. Throws `interrupted` when the lease is lost,
 * or the credential is not as the change expects it.
 */
export async function commitHeld(
  deps: WorkerDeps,
  doc: CredentialDoc,
  change: Change,
  signal: AbortSignal,
): Promise<CredentialDoc> {
  const outcome = await persist(deps, change, signal);
  const after = outcome === 'committed' && (await findHeldCredential(deps.database, doc));
  if (!after) throw new AppError('interrupted', { internal: 'the credential is not as it was read under the lease' });
  return after;
}

function stepChange(deps: WorkerDeps, doc: CredentialDoc, { rotation, dueAt, entry, whileState }: StepRecord): Change {
  const { _id, tenantId, fence, state } = doc;
  const { $set, $unset } = datesUpdate({ rotate: dueAt });
  const fields = rotation && 'changes' in rotation ? rotationFields(rotation.changes) : { rotation };
  return {
    operations: [
      {
        in: 'credentials',
        update: { _id, tenantId, fence, ...(whileState && { state }) },
        set: { $set: { ...fields, ...settles(doc), updatedAt: new Date(deps.clock.now()), ...$set }, $unset },
      },
    ],
    entries: [stepEntry(deps, doc, entry)],
  };
}

/** An interrupted worker's rotation goes on: its next step clears the interruption. */
export function settles({ interrupted }: CredentialDoc): { interrupted?: null } {
  return interrupted?.purpose === 'rotate' ? { interrupted: null } : {};
}

/** The entry of a step. */
export function stepEntry(deps: WorkerDeps, doc: CredentialDoc, { type, ...told }: StepEntry): Entry {
  return makeEntry(deps, { ...aboutCredential(doc), type, ...aboutRotation(deps, doc, told) });
}

/** The parts of an entry that name the rotation. */
export function aboutRotation(deps: WorkerDeps, doc: CredentialDoc, told: Omit<StepEntry, 'type'>) {
  const { rotation, metadata } = doc;
  return {
    actor: { kind: 'worker' as const, id: deps.workerId },
    eventId: rotation?.eventId ?? null,
    ...told,
    detail: {
      ...(rotation && { rotationId: rotation.id, rotator: rotation.rotator, attempt: rotation.attempt }),
      ...(metadata.admin_credential_id && { adminCredentialId: metadata.admin_credential_id }),
      ...told.detail,
    },
  };
}

/** A step that is not over comes due again when its worker must have lost the lease. */
export function afterLease(deps: Pick<WorkerDeps, 'clock' | 'config'>): Date {
  return new Date(deps.clock.now() + deps.config.leaseMs);
}

/**
 * A rotation that is over, or could not begin: the next is due by the policy. At rest (quarantined, revoked, …) it is due for none;
 * the transition that ends the rest sets the date anew.
 */
export function overUntilPolicy(
  deps: Pick<WorkerDeps, 'clock'>,
  doc: CredentialDoc,
  { failed }: { failed: boolean },
): Pick<StepRecord, 'rotation' | 'dueAt' | 'whileState'> {
  return { rotation: null, dueAt: nextByPolicy(deps, doc, failed), whileState: true };
}

function nextByPolicy({ clock }: Pick<WorkerDeps, 'clock'>, doc: CredentialDoc, failed: boolean): Date | null {
  const { rotateEveryMs } = doc.policy;
  if (!rotateEveryMs || doc.state !== 'active') return null;
  if (!failed) return nextRotation(doc, clock.now());
  return new Date(clock.now() + Math.min(rotateEveryMs, LOOK_AGAIN_MS));
}

/** Empties the place in the store of a pending secret that is over: of `doc`, as it was before. */
export async function forgetPending(deps: Pick<WorkerDeps, 'secrets'>, doc: Rotating): Promise<void> {
  const { id: objectId, attempt, pending } = doc.rotation;
  if (!pending || pending.jwe !== undefined) return;
  const context = { tenantId: doc.tenantId, objectId, generation: attempt };
  await deps.secrets.delete([{ context, stored: pending }]);
}
