import type { Logger } from 'pino';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import type { KeyProvider, Vault } from './crypto/contract.ts';
import type { Catalogue } from './providers/catalogue.ts';
import type { Hints } from './queue.ts';
import type { Random } from './random.ts';
import type { Commit } from './store/commit.ts';
import type { Database } from './store/database.ts';
import type { SecretStores } from './store/secret-stores.ts';

/** What both processes are made of. Functions take the part they need: `Pick<Deps, 'database' | 'clock'>`. */
export type Deps = {
  config: Config;
  clock: Clock;
  random: Random;
  log: Logger;
  database: Database;
  commit: Commit;
  vault: Vault;
  secrets: SecretStores;
  keyProvider: KeyProvider;
  providers: Catalogue;
  hints: Hints;
};
