/** `key_rotations`: rotations of keys and migrations, under way and finished. */
import type { ErrorCode } from '../../platform/errors.ts';
import type { Entry } from '../audit/inbox.ts';
import { type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased } from '../base/document.ts';

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
  /** What it waits for, or what does not open. */
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
