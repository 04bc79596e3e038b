import { makePluginLoader } from '../../../platform/plugins.ts';
import type { AlertSourcePlugin } from './contract.ts';

const { all } = makePluginLoader<AlertSourcePlugin>({
  kind: 'alert source',
  self: import.meta.url,
  shape: { about: 'string', newSecret: 'function', create: 'function' },
});

/** Every alert source, by name: the files in `plugins/`. Throws `config_invalid` where one is none. */
export const loadAlertSources = all;
