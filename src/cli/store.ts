import { systemClock } from '../shared/clock.ts';
import type { Config } from '../shared/config.ts';
import { loadKeyProvider } from '../shared/crypto/key-providers.ts';
import { makeVault } from '../shared/crypto/vault.ts';
import type { Deps } from '../shared/deps.ts';
import { systemRandom } from '../shared/random.ts';
import { openDatabase } from '../shared/store/database.ts';

/** The database and the keys, without Redis, for as long as `work` takes. */
export async function withStore<T>(
  config: Config,
  work: (deps: Pick<Deps, 'database' | 'vault'>) => Promise<T>,
): Promise<T> {
  const given = { clock: systemClock, random: systemRandom };
  const keyProvider = await loadKeyProvider(config, given);
  const database = await openDatabase(config.MONGODB_URI, config.KEYTURN_DATABASE);
  const vault = makeVault({ dataKeys: database.collection('data_keys'), keyProvider, ...given });
  try {
    return await work({ database, vault });
  } finally {
    vault.close();
    await database.close();
  }
}
