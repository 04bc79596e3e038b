import { makePluginLoader } from '../../platform/plugins.ts';
import type { Rule } from './contract.ts';

const { all } = makePluginLoader<Rule>({
  kind: 'rule',
  self: import.meta.url,
  shape: { about: 'string', watches: 'object', window: 'object', judge: 'function' },
});

/** Every rule: the files in `plugins/`. Throws `config_invalid` where one is none. */
export async function loadRules(): Promise<Rule[]> {
  return [...(await all()).values()];
}
