import { AppError } from '../platform/errors.ts';
import type { DataKeyDoc, DataKeyStore } from './contract.ts';
import { isUsable, wrapContextOf } from './data-keys.ts';
import type { KeyProvider } from './key-providers/contract.ts';

/**
 * For start-up: every root key that wraps a usable data key must be at hand, proven by unwrapping one data key of each.
 * Throws `config_invalid` that names the keys that are missing and says what to do; `key_unavailable` in an outage.
 */
export async function assertKeysAvailable(deps: {
  dataKeys: Pick<DataKeyStore, 'oneOfEachRootKey'>;
  keyProvider: KeyProvider;
}): Promise<void> {
  await deps.keyProvider.health();
  const missing: string[] = [];
  for (const doc of await deps.dataKeys.oneOfEachRootKey()) {
    if (isUsable(doc) && !(await unwraps(deps.keyProvider, doc))) missing.push(doc.wrapped.keyId);
  }
  if (missing.length === 0) return;
  throw new AppError('config_invalid', {
    detail:
      `The key provider "${deps.keyProvider.name}" cannot unwrap data keys that are in use under: ${missing.join(', ')}. ` +
      'Configure the root key of that id again (beside the new one, which stays first), or the key provider that held ' +
      'it; nothing sealed under it opens until then.',
  });
}

async function unwraps(keyProvider: KeyProvider, doc: DataKeyDoc & { wrapped: object }): Promise<boolean> {
  try {
    (await keyProvider.unwrap(doc.wrapped!, wrapContextOf(doc))).fill(0);
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === 'secret_unreadable') return false;
    throw error;
  }
}
