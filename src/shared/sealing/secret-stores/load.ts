import type { Config } from '../../platform/config/parse.ts';
import { makePluginLoader } from '../../platform/plugins.ts';
import type { PluginDeps, SecretStore, SecretStorePlugin } from './contract.ts';

const { names, load } = makePluginLoader<SecretStorePlugin>({
  kind: 'secret store',
  self: import.meta.url,
  shape: { create: 'function' },
});

/** Names of the secret stores that there are: the files in `plugins/`. */
export const secretStoreNames = names;

/** The secret store of that name; by default the one that `KEYTURN_SECRET_STORE` names. Throws `config_invalid`. */
export async function loadSecretStore(
  config: Config,
  deps: PluginDeps,
  name: string = config.secretStore,
): Promise<SecretStore> {
  const plugin = await load(name);
  return plugin.create(config, deps);
}
