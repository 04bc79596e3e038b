import type { Config } from '../../platform/config/parse.ts';
import { loadPlugin, pluginNames } from '../../platform/plugins.ts';
import type { KeyProvider, KeyProviderPlugin, PluginDeps } from './contract.ts';

const FOLDER = new URL('./plugins/', import.meta.url);

/** Names of the key providers that exist: the files in `key-providers/`. */
export function keyProviderNames(): Promise<string[]> {
  return pluginNames(FOLDER, import.meta.url);
}

/** The key provider that `KEYTURN_KEY_PROVIDER` names. Throws `config_invalid`. */
export async function loadKeyProvider(config: Config, deps: PluginDeps): Promise<KeyProvider> {
  const plugin = await loadPlugin<KeyProviderPlugin>(FOLDER, import.meta.url, 'key provider', config.keyProvider);
  return plugin.create(config, deps);
}
