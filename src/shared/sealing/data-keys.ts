import { type Collection, MongoServerError } from 'mongodb';
import { AppError } from '../platform/errors.ts';
import type { Random } from '../platform/random.ts';
import type { DataKeyDoc, DataKeyPurpose, KeyProvider, WrapContext } from './contract.ts';

export const DATA_KEY_BYTES = 32;

/** A data key that still opens: its wrapped form is there. */
export type UsableDataKey = DataKeyDoc & { wrapped: NonNullable<DataKeyDoc['wrapped']> };

export type DataKeysDeps = {
  dataKeys: Collection<DataKeyDoc>;
  keyProvider: KeyProvider;
  clock: { now(): number };
  random: Pick<Random, 'bytes'>;
};

/** `<tenantId>:<purpose>:<version>`: `_id` of the document and `kid` of what the key seals. */
export function dataKeyId(tenantId: string, purpose: DataKeyPurpose, version: number): string {
  return `${tenantId}:${purpose}:${version}`;
}

/** What the root key's wrap is bound to, so that a data key moved to another document does not unwrap. */
export function wrapContextOf(doc: Pick<DataKeyDoc, keyof WrapContext>): WrapContext {
  return { tenantId: doc.tenantId, purpose: doc.purpose, version: doc.version };
}

/** Whether values under this key may still be opened. */
export function isUsable(doc: DataKeyDoc): doc is UsableDataKey {
  return doc.wrapped !== null && (doc.state === 'active' || doc.state === 'decrypt_only');
}

/**
 * All versions of a tenant's keys for a purpose, newest first, whatever their state. Majority read concern: a key that
 * a failover could take back is never used. Throws `store_unavailable`.
 */
export async function readDataKeys(
  deps: Pick<DataKeysDeps, 'dataKeys'>,
  tenantId: string,
  purpose: DataKeyPurpose,
): Promise<DataKeyDoc[]> {
  try {
    return await deps.dataKeys
      .find({ tenantId, purpose }, { readConcern: { level: 'majority' }, readPreference: 'primary' })
      .sort({ version: -1 })
      .toArray();
  } catch (cause) {
    throw new AppError('store_unavailable', { cause, internal: 'reading data_keys' });
  }
}

/**
 * Makes version 1 unless it exists. Of two processes at once one wins; both then read the same. An upsert that changes
 * nothing still waits for the majority, so that the loser reads what will stay. Throws `key_unavailable`, `store_unavailable`.
 */
export async function ensureFirstDataKey(deps: DataKeysDeps, tenantId: string, purpose: DataKeyPurpose): Promise<void> {
  const context: WrapContext = { tenantId, purpose, version: 1 };
  const plain = deps.random.bytes(DATA_KEY_BYTES);
  try {
    const wrapped = await deps.keyProvider.wrap(plain, context);
    const doc: Omit<DataKeyDoc, '_id'> = {
      ...context,
      wrapped,
      state: 'active',
      createdAt: new Date(deps.clock.now()),
    };
    await insertUnlessThere(deps.dataKeys, dataKeyId(tenantId, purpose, 1), doc);
  } finally {
    plain.fill(0);
  }
}

async function insertUnlessThere(
  dataKeys: Collection<DataKeyDoc>,
  id: string,
  doc: Omit<DataKeyDoc, '_id'>,
): Promise<void> {
  const upsert = () =>
    dataKeys.updateOne(
      { _id: id, tenantId: doc.tenantId },
      { $setOnInsert: doc },
      { upsert: true, writeConcern: { w: 'majority', journal: true } },
    );
  try {
    // Two upserts that race can both try to insert; the loser's second try finds the document.
    await upsert().catch((error) => (isDuplicateKey(error) ? upsert() : Promise.reject(error)));
  } catch (cause) {
    throw new AppError('store_unavailable', { cause, internal: 'writing data_keys' });
  }
}

function isDuplicateKey(error: unknown): boolean {
  return error instanceof MongoServerError && error.code === 11000;
}
