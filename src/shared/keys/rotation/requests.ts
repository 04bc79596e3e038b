/** Asking for a rotation of keys; workers do it (`job.ts`). */
import { AppError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { DataKeyPurpose } from '../../sealing/key-providers/contract.ts';
import { SYSTEM_TENANT_ID } from '../../store/access/tenants.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import { makeEntry } from '../../store/entry.ts';
import { findOpenKeyRotation, type KeyRotationDoc, type RotationKind } from '../../store/keys/key-rotations.ts';

type RequestDeps = Pick<Deps, 'database' | 'commit' | 'clock' | 'random'>;

export type RotationRequest = {
  tenantId: string;
  kind: RotationKind;
  /** `root`: the key's id; `store`: its name. */
  target: string | null;
  actor: Entry['actor'];
};

/** The data keys that a rotation makes a new version of. */
export const PURPOSE_OF = { data: 'seal', fingerprint: 'fingerprint' } as const satisfies Partial<
  Record<RotationKind, DataKeyPurpose>
>;

/**
 * Begins a rotation, or resolves to the one of that kind that is under way already. Throws `conflict` when that one goes
 * to another target.
 */
export async function requestRotation(deps: RequestDeps, request: RotationRequest): Promise<KeyRotationDoc> {
  const { tenantId, kind, target, actor } = request;
  const now = new Date(deps.clock.now());
  const doc: KeyRotationDoc = {
    _id: newId('keyRotation', deps),
    tenantId,
    kind,
    phase: 'requested',
    version: null,
    target,
    cursor: { place: 0, after: null },
    round: 1,
    total: 0,
    moved: 0,
    left: null,
    notBefore: now,
    problem: null,
    requestedBy: actor,
    startedAt: now,
    finishedAt: null,
    open: true,
    dueAt: now,
    fence: 0,
    lease: null,
    interrupted: null,
  };
  const outcome = await deps.commit({
    operations: [{ in: 'key_rotations', insert: doc }],
    entries: [
      makeEntry(deps, {
        tenantId,
        type: 'key.rotation_requested',
        actor,
        detail: { rotationId: doc._id, kind, target },
      }),
    ],
  });
  return outcome === 'committed' ? doc : underWay(deps, request);
}

async function underWay(deps: RequestDeps, { tenantId, kind, target }: RotationRequest): Promise<KeyRotationDoc> {
  const found = await findOpenKeyRotation(deps.database, { tenantId, kind });
  if (found?.target === target) return found;
  throw new AppError('conflict', {
    detail: `Another rotation of this kind is under way${found?.target ? ` (to ${found.target})` : ''}; it ends first.`,
  });
}

/** Whose document a rotation of a kind is: the root key belongs to no tenant. */
export function ownerOf(kind: RotationKind, tenantId: string): string {
  return kind === 'root' ? SYSTEM_TENANT_ID : tenantId;
}
