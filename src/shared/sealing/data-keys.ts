import type { Random } from '../platform/random.ts';
import type { DataKeyDoc, DataKeyStore } from './contract.ts';
import type { DataKeyPurpose, KeyProvider, WrapContext } from './key-providers/contract.ts';

export const DATA_KEY_BYTES = 32;

/** A data key that still opens: its wrapped form is there. */
export type UsableDataKey = DataKeyDoc & { wrapped: NonNullable<DataKeyDoc['wrapped']> };

export type DataKeysDeps = {
  dataKeys: DataKeyStore;
  keyProvider: KeyProvider;
  clock: { now(): number };
  random: Pick<Random, 'bytes'>;
};

/** `<tenantId>:<purpose>:<version>`: `_id` of the document and `kid` of what the key seals. */
export function dataKeyId(tenantId: string, purpose: DataKeyPurpose, version: number): string {
  return `${tenantId}:${purpose}:${version}`;
}

/** The root key's wrap is bound to this, so that a data key moved to another document does not unwrap. */
export function wrapContextOf(doc: Pick<DataKeyDoc, keyof WrapContext>): WrapContext {
  return { tenantId: doc.tenantId, purpose: doc.purpose, version: doc.version };
}

/** Whether values under this key may still be opened. */
export function isUsable(doc: DataKeyDoc): doc is UsableDataKey {
  return doc.wrapped !== null && (doc.state === 'active' || doc.state === 'decrypt_only');
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
    await deps.dataKeys.insertUnlessThere({
      _id: dataKeyId(tenantId, purpose, 1),
      ...context,
      wrapped,
      state: 'active',
      createdAt: new Date(deps.clock.now()),
    });
  } finally {
    plain.fill(0);
  }
}
