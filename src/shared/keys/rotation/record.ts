/** How a rotation of keys gets on the record: its phases with entries, its progress without. */

import { AppError } from '../../platform/errors.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { Operation } from '../../store/commit.ts';
import { makeEntry } from '../../store/entry.ts';
import { type KeyRotationDoc, saveKeyRotation } from '../../store/keys/key-rotations.ts';
import type { WorkerDeps } from '../../work/job.ts';

export type PhaseChange = {
  set: Partial<KeyRotationDoc>;
  /** Committed with it: changes of state of data keys. */
  operations?: Operation[];
  entry: { type: string; detail?: Entry['detail'] };
};

/** Commits a change of phase with its entry, under the lease. Throws `interrupted` when the lease is lost. */
export async function changePhase(
  deps: WorkerDeps,
  rotation: KeyRotationDoc,
  { set, operations = [], entry }: PhaseChange,
): Promise<KeyRotationDoc> {
  const { _id, tenantId, fence, phase, kind, version, target } = rotation;
  const finished = set.phase === 'finished';
  const ending = finished ? { $unset: { open: '', dueAt: '' } } : {};
  const outcome = await deps.commit({
    operations: [
      ...operations,
      { in: 'key_rotations', update: { _id, tenantId, fence, phase }, set: { $set: set, ...ending } },
    ],
    entries: [
      makeEntry(deps, {
        tenantId,
        actor: { kind: 'worker', id: deps.workerId },
        type: entry.type,
        detail: { rotationId: _id, kind, version: set.version ?? version, target, ...entry.detail },
      }),
    ],
  });
  if (outcome !== 'committed') throw new AppError('interrupted', { internal: 'the rotation was taken over' });
  const { open, dueAt, ...rest } = { ...rotation, ...set };
  return finished ? rest : { ...rest, ...(open && { open }), ...(dueAt && { dueAt }) };
}

/** Writes progress under the lease: the place where another process goes on. Throws `interrupted` when it is lost. */
export async function saveProgress(
  deps: Pick<WorkerDeps, 'database'>,
  rotation: KeyRotationDoc,
  set: Partial<KeyRotationDoc>,
): Promise<KeyRotationDoc> {
  if (await saveKeyRotation(deps.database, rotation, set)) return { ...rotation, ...set };
  throw new AppError('interrupted', { internal: 'the rotation was taken over' });
}
