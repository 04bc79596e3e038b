/** Asking for a rotation of keys, and what is left of it. A worker does it: `workers/jobs/reseal.ts`. */
import type { Filter } from 'mongodb';
import { AppError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { DataKeyPurpose } from '../../sealing/key-providers/contract.ts';
import { SYSTEM_TENANT_ID } from '../../store/access/tenants.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { CollectionName } from '../../store/database.ts';
import { makeEntry } from '../../store/entry.ts';
import type { KeyRotationDoc, RotationKind } from '../../store/keys/key-rotations.ts';
import { SEALED_COLLECTIONS, whereSealed } from '../../store/sealed-values.ts';

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
  const found = await findRotation(deps, { tenantId, kind, open: true });
  if (found?.target === target) return found;
  throw new AppError('conflict', {
    detail: `Another rotation of this kind is under way${found?.target ? ` (to ${found.target})` : ''}; it ends first.`,
  });
}

/** One rotation; null when there is none. Throws `store_unavailable`. */
export async function findRotation(
  { database }: Pick<Deps, 'database'>,
  where: Filter<KeyRotationDoc> & { tenantId: string },
): Promise<KeyRotationDoc | null> {
  return await database.collection('key_rotations').findOne(where);
}

/** Collections that a rotation goes through, in order. */
export function collectionsOf(kind: RotationKind): readonly CollectionName[] {
  if (kind === 'root') return ['data_keys'];
  return kind === 'data' ? SEALED_COLLECTIONS : ['credentials'];
}

/** The query for what is still under the old key, or in the old store. */
export function remaining(rotation: KeyRotationDoc, name: CollectionName): object {
  const { kind, tenantId, version, target } = rotation;
  if (kind === 'root') return { wrapped: { $ne: null }, 'wrapped.keyId': { $ne: target } };
  if (kind === 'fingerprint') {
    // A credential's own tokens; those of its past are left as they were made.
    const current = new RegExp(`^v${version}\\.`);
    return { tenantId, secret: { $ne: null }, 'fingerprints.0': { $exists: true }, fingerprints: { $not: current } };
  }
  if (kind === 'store') return { tenantId, ...whereSealed('credentials', 'store', { $exists: true, $ne: target }) };
  return { tenantId, ...whereSealed(name as (typeof SEALED_COLLECTIONS)[number], 'keyVersion', { $lt: version }) };
}

/** Counts what is still under the old key. Majority reads of the primary: what is counted as moved stays so. */
export async function countRemaining({ database }: Pick<Deps, 'database'>, rotation: KeyRotationDoc): Promise<number> {
  let left = 0;
  for (const name of collectionsOf(rotation.kind)) {
    const query = remaining(rotation, name);
    left += await database.db.collection(name).countDocuments(query, { readPreference: 'primary' });
  }
  return left;
}

/** Tenants that have data keys to rotate: with the one that Keyturn's own signing keys are sealed for. */
export async function tenantsWithKeys(
  { database }: Pick<Deps, 'database'>,
  kind: keyof typeof PURPOSE_OF,
): Promise<string[]> {
  const found = await database.collection('data_keys').distinct('tenantId', {
    purpose: PURPOSE_OF[kind],
    state: 'active',
  });
  return found.sort();
}

/** Whose document a rotation of a kind is: the root key belongs to no tenant. */
export function ownerOf(kind: RotationKind, tenantId: string): string {
  return kind === 'root' ? SYSTEM_TENANT_ID : tenantId;
}
