/** `data_keys`: the keys of tenants, wrapped by root keys. */

import { isDuplicateKey } from '../../platform/driver-errors.ts';
import { AppError } from '../../platform/errors.ts';
import type { DataKeyDoc, DataKeyStore } from '../../sealing/contract.ts';
import type { HasDb, Indexes } from '../base/collection.ts';

export const INDEXES: Indexes = [
  // The versions of a tenant's key.
  { key: { tenantId: 1, purpose: 1, version: -1 } },
  // What a root key wraps.
  { key: { 'wrapped.keyId': 1 } },
];

const dataKeys = ({ db }: HasDb) => db.collection<DataKeyDoc>('data_keys');

/** What sealing reads and writes. Majority read concern: a key that a failover could take back is never used. */
export function makeDataKeyStore(database: HasDb): DataKeyStore {
  return {
    versions: (tenantId, purpose) =>
      dataKeys(database)
        .find({ tenantId, purpose }, { readConcern: { level: 'majority' }, readPreference: 'primary' })
        .sort({ version: -1 })
        .toArray()
        .catch(unavailable('reading data_keys')),
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
      await upsert()
        .catch((error) => (isDuplicateKey(error) ? upsert() : Promise.reject(error)))
        .catch(unavailable('writing data_keys'));
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

function unavailable(internal: string): (cause: unknown) => never {
  return (cause) => {
    throw new AppError('store_unavailable', { cause, internal });
  };
}
