import type { Config } from '../../platform/config/parse.ts';
import { makePluginLoader } from '../../platform/plugins.ts';
import type { KeyProvider, KeyProviderPlugin, PluginDeps } from './contract.ts';

const { names, load } = makePluginLoader<KeyProviderPlugin>({
  kind: 'key provider',
  self: import.meta.url,
  shape: { create: 'function' },
});

/** Names of the key providers that there are: the files in `plugins/`. */
export const keyProviderNames = names;

/** The key provider that `KEYTURN_KEY_PROVIDER` names. Throws `config_invalid`. */
export async function loadKeyProvider(config: Config, deps: PluginDeps): Promise<KeyProvider> {
  const plugin = await load(config.keyProvider);
  return plugin.create(config, deps);
}
