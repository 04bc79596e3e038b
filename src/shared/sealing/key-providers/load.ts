import type { Collection } from 'mongodb';
import type { Config } from '../../platform/config/parse.ts';
import { AppError } from '../../platform/errors.ts';
import { loadPlugin, pluginNames } from '../../platform/plugins.ts';
import type { CryptoDeps, DataKeyDoc, KeyProvider, KeyProviderPlugin } from '../contract.ts';
import { isUsable, wrapContextOf } from '../data-keys.ts';

const FOLDER = new URL('./plugins/', import.meta.url);

/** Names of the key providers that exist: the files in `key-providers/`. */
export function keyProviderNames(): Promise<string[]> {
  return pluginNames(FOLDER, import.meta.url);
}

/** The key provider that `KEYTURN_KEY_PROVIDER` names. Throws `config_invalid`. */
export async function loadKeyProvider(config: Config, deps: CryptoDeps): Promise<KeyProvider> {
  const plugin = await loadPlugin<KeyProviderPlugin>(
    FOLDER,
    import.meta.url,
    'key provider',
    config.KEYTURN_KEY_PROVIDER,
  );
  return plugin.create(config, deps);
}

/**
 * For start-up: every root key that wraps a usable data key must be at hand, proven by unwrapping one data key of each.
 * Throws `config_invalid` that names the keys that are missing and says what to do; `key_unavailable` in an outage.
 */
export async function assertKeysAvailable(deps: {
  dataKeys: Collection<DataKeyDoc>;
  keyProvider: KeyProvider;
}): Promise<void> {
  await deps.keyProvider.health();
  const missing: string[] = [];
  for (const doc of await oneOfEachRootKey(deps.dataKeys)) {
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

async function oneOfEachRootKey(dataKeys: Collection<DataKeyDoc>): Promise<DataKeyDoc[]> {
  return dataKeys
    .aggregate<{ doc: DataKeyDoc }>([
      { $match: { state: { $in: ['active', 'decrypt_only'] }, wrapped: { $ne: null } } },
      { $group: { _id: '$wrapped.keyId', doc: { $first: '$$ROOT' } } },
      { $sort: { _id: 1 } },
    ])
    .map(({ doc }) => doc)
    .toArray();
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
