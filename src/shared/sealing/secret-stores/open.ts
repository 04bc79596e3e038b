import type { Config } from '../../platform/config/parse.ts';
import type { PluginDeps, SecretStore } from './contract.ts';
import { loadSecretStore } from './load.ts';

/** The configured store for new values, and every other one for the values that are still there. */
export type SecretStores = SecretStore & {
  /** The store of that name. Throws `config_invalid`. */
  named(name: string): Promise<SecretStore>;
};

/** Opens the configured store at once, and others when a value names them. Throws `config_invalid`. */
export async function openSecretStores(config: Config, deps: PluginDeps): Promise<SecretStores> {
  const main = await loadSecretStore(config, deps);
  const opened = new Map<string, Promise<SecretStore>>([[main.name, Promise.resolve(main)]]);
  const named = (name: string) => {
    const known = opened.get(name);
    if (known) return known;
    const opening = loadSecretStore(config, deps, name);
    opened.set(name, opening);
    opening.catch(() => opened.delete(name));
    return opening;
  };
  return {
    name: main.name,
    named,
    put: main.put,
    health: main.health,
    async get(items) {
      const found = new Map<object, string | null>();
      for (const [name, group] of Map.groupBy(items, ({ stored }) => stored.store)) {
        const values = await (await named(name)).get(group);
        group.forEach((item, index) => {
          found.set(item, values[index] ?? null);
        });
      }
      return items.map((item) => found.get(item) ?? null);
    },
    async delete(items) {
      for (const [name, group] of Map.groupBy(items, ({ stored }) => stored.store)) {
        await (await named(name)).delete(group);
      }
    },
    async purge(objects) {
      for (const store of opened.values()) await (await store).purge(objects);
    },
  };
}
