import type { Config } from '../config.ts';
import type { CryptoDeps, SecretStore, SecretStorePlugin } from '../crypto/contract.ts';
import { loadPlugin, pluginNames } from '../crypto/discover.ts';

const FOLDER = new URL('./secret-stores/', import.meta.url);

/** Names of the secret stores that exist: the files in `secret-stores/`. */
export function secretStoreNames(): Promise<string[]> {
  return pluginNames(FOLDER, import.meta.url);
}

/** The secret store of that name; by default the one that `KEYTURN_SECRET_STORE` names. Throws `config_invalid`. */
export async function loadSecretStore(
  config: Config,
  deps: CryptoDeps,
  name: string = config.KEYTURN_SECRET_STORE,
): Promise<SecretStore> {
  const plugin = await loadPlugin<SecretStorePlugin>(FOLDER, import.meta.url, 'secret store', name);
  return plugin.create(config, deps);
}
