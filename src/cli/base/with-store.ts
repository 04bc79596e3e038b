import { systemClock } from '../../shared/platform/clock.ts';
import type { Config } from '../../shared/platform/config/parse.ts';
import { systemRandom } from '../../shared/platform/random.ts';
import type { Deps } from '../../shared/runtime/deps.ts';
import { loadKeyProvider } from '../../shared/sealing/key-providers/load.ts';
import { makeSealer } from '../../shared/sealing/sealer.ts';
import { openSecretStores } from '../../shared/sealing/secret-stores/open.ts';
import { makeCommitter } from '../../shared/store/commit.ts';
import { openDatabase } from '../../shared/store/database.ts';
import { makeDataKeyStore } from '../../shared/store/keys/data-keys.ts';

/** What a command that works on the database is given. */
export type StoreDeps = Pick<Deps, 'database' | 'sealer' | 'commit' | 'clock' | 'random' | 'keyProvider' | 'secrets'>;

/** Opens the database and the keys for as long as `work` takes; not Redis, which no command needs. Throws `store_unavailable`, `config_invalid`. */
export async function withStore<T>(config: Config, work: (deps: StoreDeps) => Promise<T>): Promise<T> {
  const given = { clock: systemClock, random: systemRandom };
  const keyProvider = await loadKeyProvider(config, given);
  const secrets = await openSecretStores(config, given);
  const database = await openDatabase(config.mongodbUri, config.databaseName);
  const sealer = makeSealer({ dataKeys: makeDataKeyStore(database), keyProvider, ...given });
  const { commit, idle } = makeCommitter(database);
  try {
    return await work({ database, sealer, commit, keyProvider, secrets, ...given });
  } finally {
    await idle();
    sealer.close();
    await database.close();
  }
}
