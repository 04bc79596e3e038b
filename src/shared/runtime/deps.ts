import type { Logger } from 'pino';
import type { Clock } from '../platform/clock.ts';
import type { Config } from '../platform/config/parse.ts';
import type { Random } from '../platform/random.ts';
import type { Catalogue } from '../providers/catalogue.ts';
import type { Hints } from '../queue/hints.ts';
import type { Sealer } from '../sealing/contract.ts';
import type { KeyProvider } from '../sealing/key-providers/contract.ts';
import type { SecretStores } from '../sealing/secret-stores/open.ts';
import type { Commit } from '../store/commit.ts';
import type { Database } from '../store/database.ts';

/** The dependencies of both processes. Functions take the part they need: `Pick<Deps, 'database' | 'clock'>`. */
export type Deps = {
  config: Config;
  clock: Clock;
  random: Random;
  log: Logger;
  database: Database;
  commit: Commit;
  sealer: Sealer;
  secrets: SecretStores;
  keyProvider: KeyProvider;
  providers: Catalogue;
  hints: Hints;
};
