/** How a step of a rotation becomes durable: with its entry, under the lease (promises 3, 4 and 6). */

import { AppError } from '../../platform/errors.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { persist } from '../../work/persist.ts';
import type { Rotating } from './call.ts';

export const DEFAULT_OVERLAP_MS = 3_600_000;

/** When a policy of rotation cannot be followed, it is looked at again after this long. */
const LOOK_AGAIN_MS = 86_400_000;

export type StepRecord = {
  /** Fields of the credential; `rotation.step` and so on. */
  set: Record<string, unknown>;
  /** When the rotation goes on; null: there is nothing left to do. */
  dueAt: Date | null;
  entry: Pick<Entry, 'type'> & Partial<Pick<Entry, 'outcome' | 'reason' | 'detail' | 'eventId'>>;
  /** What else the write replaces, e.g. the due dates of a new generation. */
  unset?: Record<string, unknown>;
};

/** Commits one step and resolves to the credential after it. Throws `interrupted` when the lease is lost. */
export async function commitStep(
  deps: WorkerDeps,
  doc: CredentialDoc,
  { set, dueAt, entry, unset = {} }: StepRecord,
  signal: AbortSignal,
): Promise<CredentialDoc> {
  const own = { _id: doc._id, tenantId: doc.tenantId, fence: doc.fence };
  const outcome = await persist(
    deps,
    {
      operations: [
        {
          in: 'credentials',
          update: own,
          set: {
            $set: {
              ...set,
              updatedAt: new Date(deps.clock.now()),
              ...(dueAt && { 'due.rotate': dueAt }),
              // What a worker before us left open of this rotation is settled by its next step.
              ...(doc.interrupted?.purpose === 'rotate' && { interrupted: null }),
            },
            $unset: { ...unset, 'claimed.rotate': '', ...(!dueAt && { 'due.rotate': '' }) },
          },
        },
      ],
      entries: [stepEntry(deps, doc, entry)],
    },
    signal,
  );
  const after = outcome === 'committed' && (await deps.database.collection('credentials').findOne(own));
  if (!after) throw new AppError('interrupted', { internal: 'the lease on the credential was lost' });
  return after;
}

/** The entry of a step. What the rotation is about is told by its `detail`. */
export function stepEntry(deps: WorkerDeps, doc: CredentialDoc, entry: StepRecord['entry']): Entry {
  const { rotation } = doc;
  return makeEntry(deps, {
    ...aboutCredential(doc),
    actor: { kind: 'worker', id: deps.workerId },
    eventId: rotation?.eventId ?? null,
    ...entry,
    detail: {
      ...(rotation && { rotationId: rotation.id, rotator: rotation.rotator, attempt: rotation.attempt }),
      ...(doc.metadata.admin_credential_id && { adminCredentialId: doc.metadata.admin_credential_id }),
      ...entry.detail,
    },
  });
}

/** A step that is not over comes due again when its worker must have lost the lease. */
export function afterLease(deps: Pick<WorkerDeps, 'clock' | 'config'>): Date {
  return new Date(deps.clock.now() + deps.config.leaseMs);
}

/** When the policy wants the next rotation; null: it wants none. */
export function nextByPolicy(deps: Pick<WorkerDeps, 'clock'>, doc: CredentialDoc, failed: boolean): Date | null {
  const { rotateEveryMs } = doc.policy;
  if (!rotateEveryMs || doc.state === 'revoked' || doc.state === 'destroyed') return null;
  if (failed) return new Date(deps.clock.now() + Math.min(rotateEveryMs, LOOK_AGAIN_MS));
  return new Date((doc.secretChangedAt?.getTime() ?? deps.clock.now()) + rotateEveryMs);
}

/** Empties the place in the store of a pending secret that is over: of `doc`, as it was before. */
export async function forgetPending(deps: Pick<WorkerDeps, 'secrets'>, doc: Rotating): Promise<void> {
  const { id: objectId, attempt, pending } = doc.rotation;
  if (!pending || pending.jwe !== undefined) return;
  const context = { tenantId: doc.tenantId, objectId, generation: attempt };
  await deps.secrets.delete([{ context, stored: pending }]);
}
