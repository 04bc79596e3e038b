/** `data_keys`: the keys of tenants, wrapped by root keys. */
import type { FindCursor } from 'mongodb';
import { isDuplicateKey } from '../../platform/driver-errors.ts';
import { AppError } from '../../platform/errors.ts';
import type { DataKeyDoc, DataKeyStore } from '../../sealing/contract.ts';
import type { UsableDataKey } from '../../sealing/data-keys.ts';
import type { DataKeyPurpose, WrappedKey } from '../../sealing/key-providers/contract.ts';
import type { HasDb, Indexes } from '../base/collection.ts';

export const INDEXES: Indexes = [
  // The versions of a tenant's key.
  { key: { tenantId: 1, purpose: 1, version: -1 } },
  // The data keys that a root key wraps.
  { key: { 'wrapped.keyId': 1 } },
];

const dataKeys = ({ db }: HasDb) => db.collection<DataKeyDoc>('data_keys');

/** The collection as sealing asks for it. Majority read concern: a key that a failover could take back is never used. */
export function makeDataKeyStore(database: HasDb): DataKeyStore {
  return {
    versions: (tenantId, purpose) =>
      orUnavailable('reading data_keys', async () =>
        dataKeys(database)
          .find({ tenantId, purpose }, { readConcern: { level: 'majority' }, readPreference: 'primary' })
          .sort({ version: -1 })
          .toArray(),
      ),
    insertUnlessThere: async (doc) => {
      // An upsert that changes nothing still waits for the majority, so that the loser reads what will stay.
      const { _id, ...fields } = doc;
      const upsert = () =>
        dataKeys(database).updateOne(
          { _id, tenantId: doc.tenantId },
          { $setOnInsert: fields },
          { upsert: true, writeConcern: { w: 'majority', journal: true } },
        );
      // Two upserts that race can both try to insert; the loser's second try finds the document.
      await orUnavailable('writing data_keys', () =>
        upsert().catch((error) => (isDuplicateKey(error) ? upsert() : Promise.reject(error))),
      );
    },
    oneOfEachRootKey: () =>
      dataKeys(database)
        .aggregate<{ doc: DataKeyDoc }>([
          { $match: { state: { $in: ['active', 'decrypt_only'] }, wrapped: { $ne: null } } },
          { $group: { _id: '$wrapped.keyId', doc: { $first: '$$ROOT' } } },
          { $sort: { _id: 1 } },
        ])
        .map(({ doc }) => doc)
        .toArray(),
  };
}

/** All versions of a tenant's keys for these purposes, whatever their state, in no order. */
export function listDataKeys(
  database: HasDb,
  { tenantId, purposes }: { tenantId: string; purposes: DataKeyPurpose[] },
): Promise<DataKeyDoc[]> {
  return dataKeys(database)
    .find({ tenantId, purpose: { $in: purposes } })
    .toArray();
}

/** The tenants that have an active key for a purpose, in order. For the operator, who rotates the keys of all. */
export async function listTenantsWithDataKey(database: HasDb, purpose: DataKeyPurpose): Promise<string[]> {
  const tenantIds = await dataKeys(database).distinct('tenantId', { purpose, state: 'active' });
  return tenantIds.sort();
}

/** Replaces the wrapped form of a key as it was read. False, and nothing written, when it is wrapped otherwise by now. */
export async function replaceWrapped(
  database: HasDb,
  { _id, tenantId, wrapped: { keyId, ciphertext } }: UsableDataKey,
  wrapped: WrappedKey,
): Promise<boolean> {
  const read = { _id, tenantId, 'wrapped.keyId': keyId, 'wrapped.ciphertext': ciphertext };
  return (await dataKeys(database).updateOne(read, { $set: { wrapped } })).modifiedCount === 1;
}

/** Lets a retired key open again. False when it is not retired. */
export async function reviveDataKey(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<boolean> {
  const retired = { _id: id, tenantId, state: 'retired' as const };
  return (await dataKeys(database).updateOne(retired, { $set: { state: 'decrypt_only' } })).modifiedCount === 1;
}

/** Every data key, by tenant, purpose and version. Without `tenantId` those of all tenants: for the operator. */
export function walkDataKeys(database: HasDb, { tenantId }: { tenantId?: string | undefined }): FindCursor<DataKeyDoc> {
  return dataKeys(database)
    .find(tenantId === undefined ? {} : { tenantId })
    .sort({ tenantId: 1, purpose: 1, version: 1 });
}

/** How many data keys each root key wraps: root key id → count, in the order of the ids. Across tenants: for the operator. */
export async function countDataKeysByRootKey(database: HasDb): Promise<Map<string, number>> {
  const rows = await dataKeys(database)
    .aggregate<{ _id: string; count: number }>([
      { $match: { wrapped: { $ne: null } } },
      { $group: { _id: '$wrapped.keyId', count: { $sum: 1 } } },
      { $sort: { _id: 1 } },
    ])
    .toArray();
  return new Map(rows.map(({ _id, count }) => [_id, count]));
}

/** Sealing treats every failure alike: what is cached works on, and the read is tried again. */
async function orUnavailable<T>(internal: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new AppError('store_unavailable', { cause, internal });
  }
}
