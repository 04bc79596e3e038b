/** The documents that a rotation of keys, or a migration to another secret store, has still to move: counted, and read in groups. */
import type { HasDb } from './base/collection.ts';
import { FREE, fingerprintsUnder } from './base/document.ts';
import type { CollectionName } from './database.ts';
import type { KeyRotationDoc, RotationKind } from './keys/key-rotations.ts';
import { SEALED_COLLECTIONS, type SealedCollection, whereSealed } from './sealed-values.ts';

/** The fields of a rotation that say which key, or which store, is the old one. */
export type OldKey = Pick<KeyRotationDoc, 'kind' | 'tenantId' | 'version' | 'target'>;

type Row = {
  /** In the order in which they are gone through. */
  collections: readonly CollectionName[];
  /** The documents with something under the old key, or in the old store. */
  where(old: OldKey, name: CollectionName): object;
};

const ROWS: Record<RotationKind, Row> = {
  // A root key wraps the data keys of all tenants.
  root: {
    collections: ['data_keys'],
    where: ({ target }) => ({ wrapped: { $ne: null }, 'wrapped.keyId': { $ne: target } }),
  },
  data: {
    collections: SEALED_COLLECTIONS,
    where: ({ tenantId, version }, name) => ({
      tenantId,
      ...whereSealed(name as SealedCollection, 'keyVersion', { $lt: version }),
    }),
  },
  // A credential's own tokens; those of its past are left as they were made.
  fingerprint: {
    collections: ['credentials'],
    where: ({ tenantId, version }) => ({
      tenantId,
      secret: { $ne: null },
      'fingerprints.0': { $exists: true },
      fingerprints: { $not: fingerprintsUnder(version ?? 0) },
    }),
  },
  store: {
    collections: ['credentials'],
    where: ({ tenantId, target }) => ({
      tenantId,
      ...whereSealed('credentials', 'store', { $exists: true, $ne: target }),
    }),
  },
};

/** Collections that a rotation of that kind goes through, in order. */
export function backlogCollections(kind: RotationKind): readonly CollectionName[] {
  return ROWS[kind].collections;
}

/** How many documents have something under the old key. Majority reads of the primary: what is counted as moved stays so. */
export async function countBacklog({ db }: HasDb, old: OldKey): Promise<number> {
  const { collections, where } = ROWS[old.kind];
  let left = 0;
  for (const name of collections) {
    left += await db.collection(name).countDocuments(where(old, name), { readPreference: 'primary' });
  }
  return left;
}

/** The next documents of a collection with something under the old key, by id; those that a worker holds are left out. */
export function listBacklog(
  { db }: HasDb,
  old: OldKey,
  { name, after, limit }: { name: CollectionName; after: string | null; limit: number },
): Promise<{ _id: string }[]> {
  const beyond = after === null ? {} : { _id: { $gt: after } };
  return db
    .collection<{ _id: string }>(name)
    .find({ $and: [ROWS[old.kind].where(old, name), beyond, FREE] })
    .sort({ _id: 1 })
    .limit(limit)
    .toArray();
}
