/** `key_rotations`: rotations of keys and migrations, under way and finished. */
import type { ErrorCode } from '../../platform/errors.ts';
import type { Entry } from '../audit/inbox.ts';
import { type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased } from '../base/document.ts';
import type { DueDate } from '../base/due-date.ts';

/**
 * `root`: data keys are wrapped anew; `data`: values are sealed anew; `fingerprint`: tokens are fingerprinted anew;
 * `store`: values move to another secret store.
 */
export const ROTATION_KINDS = ['root', 'data', 'fingerprint', 'store'] as const;

export type RotationKind = (typeof ROTATION_KINDS)[number];

/**
 * `requested` → `staged` (the new key is known everywhere before it is used) → `moving` (from old to new, in rounds) →
 * `settling` (nothing was found under the old one; counted once more after a pause) → `finished`.
 */
export const ROTATION_PHASES = ['requested', 'staged', 'moving', 'settling', 'finished'] as const;

export type RotationPhase = (typeof ROTATION_PHASES)[number];

/** One rotation or migration. At most one of a kind is open in a tenant. */
export type KeyRotationDoc = Leased & {
  _id: string;
  tenantId: string;
  kind: RotationKind;
  phase: RotationPhase;
  /** `data`, `fingerprint`: the new version, once it is staged. */
  version: number | null;
  /** `root`: id of the root key; `store`: name of the store. */
  target: string | null;
  /** Where the present round is: the collection's place in the table of sealed values, and the last id that was done. */
  cursor: { place: number; after: string | null };
  round: number;
  /** Found under the old key when the moving began. */
  total: number;
  moved: number;
  /** The last count of what is under the old key; null before the first. */
  left: number | null;
  /** The phase does not end before. */
  notBefore: Date;
  /** Why it waits, or which value does not open. */
  problem: { code: ErrorCode; detail: string } | null;
  requestedBy: Entry['actor'];
  startedAt: Date;
  finishedAt: Date | null;
  /** Absent once finished, like `dueAt`. */
  open?: true;
  dueAt?: Date;
};

export const INDEXES: Indexes = [
  // At most one of a kind is open.
  { key: { tenantId: 1, kind: 1 }, unique: true, ...whenPresent('open') },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
];

/** Rotations that go on. */
export const DUE: DueDate = { in: 'key_rotations', field: 'dueAt', read: [] };

const rotations = ({ db }: HasDb) => db.collection<KeyRotationDoc>('key_rotations');

/** One rotation, also a finished one; null where the tenant has none of that id. */
export function findKeyRotation(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<KeyRotationDoc | null> {
  return rotations(database).findOne({ _id: id, tenantId });
}

/** The rotation of a kind that is under way in a tenant; null when there is none. */
export function findOpenKeyRotation(
  database: HasDb,
  { tenantId, kind }: { tenantId: string; kind: RotationKind },
): Promise<KeyRotationDoc | null> {
  return rotations(database).findOne({ tenantId, kind, open: true });
}

/** The rotations that are under way, oldest first. Without `tenantId` those of all tenants: for the operator. */
export function listOpenKeyRotations(
  database: HasDb,
  { tenantId }: { tenantId?: string | undefined },
): Promise<KeyRotationDoc[]> {
  return rotations(database)
    .find({ ...(tenantId !== undefined && { tenantId }), open: true })
    .sort({ _id: 1 })
    .toArray();
}

/** Writes progress of a rotation that is still held as it was read. False, and nothing written, when it is not. */
export async function saveKeyRotation(
  database: HasDb,
  { _id, tenantId, fence }: KeyRotationDoc,
  set: Partial<KeyRotationDoc>,
): Promise<boolean> {
  const { matchedCount } = await rotations(database).updateOne({ _id, tenantId, fence }, { $set: set });
  return matchedCount === 1;
}
