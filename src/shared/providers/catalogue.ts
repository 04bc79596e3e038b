import type { ProviderSettings } from '../platform/config/provider-settings.ts';
import { AppError } from '../platform/errors.ts';
import { makePluginLoader } from '../platform/plugins.ts';
import type { BreakerDeps } from './breaker.ts';
import type { Provider, ProviderDeps, ProviderPlugin } from './contract.ts';
import { guardProvider } from './guard.ts';
import { badSetting } from './settings.ts';

/** For a service that has no file of its own. */
const GENERIC = 'oauth2';

/** The configured services. */
export type Catalogue = {
  /** Throws `unknown_service`, naming the services that there are. */
  get(service: string): Provider;
  list(): Provider[];
};

const { names, load } = makePluginLoader<ProviderPlugin>({
  kind: 'provider',
  self: import.meta.url,
  shape: { create: 'function' },
});

/** Types of providers that there are: the files in `plugins/`. */
export const providerTypes = names;

/**
 * Makes every configured provider, each behind its guard. Calls none: a dead provider does not stop a start.
 * Throws one `config_invalid` that lists the problems of all.
 */
export async function loadCatalogue(
  settings: ProviderSettings[],
  deps: ProviderDeps & BreakerDeps,
): Promise<Catalogue> {
  const types = await providerTypes();
  const providers = new Map<string, Provider>();
  const problems: string[] = [];
  for (const one of settings) {
    try {
      if (providers.has(one.service)) {
        throw new AppError('config_invalid', { detail: `KEYTURN_PROVIDERS names ${one.service} twice.` });
      }
      providers.set(one.service, guardProvider(await makeProvider(one, types, deps), deps));
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'config_invalid')) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length > 0) throw new AppError('config_invalid', { detail: problems.join('\n') });
  return {
    get: (service) => providers.get(service) ?? unknownService(service, [...providers.keys()]),
    list: () => [...providers.values()],
  };
}

async function makeProvider(
  settings: ProviderSettings,
  types: readonly string[],
  deps: ProviderDeps,
): Promise<Provider> {
  const type = settings.type ?? (types.includes(settings.service) ? settings.service : GENERIC);
  if (!types.includes(type)) throw badSetting(settings.service, 'type', `must be one of: ${types.join(', ')}.`);
  const plugin = await load(type);
  return plugin.create(settings, deps);
}

function unknownService(service: string, configured: string[]): never {
  const named = /^[a-z0-9-]{1,40}$/.test(service) ? `"${service}"` : 'of that name';
  const known = configured.length > 0 ? `Configured are: ${configured.join(', ')}.` : 'None is configured.';
  throw new AppError('unknown_service', { detail: `There is no service ${named}. ${known}` });
}
