import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startServers } from '../local/servers/both.ts';
import type { BenchContext } from './contract.ts';

/** MongoDB and Redis of a bench run, and environments on them. */
export type Stores = Pick<BenchContext, 'mongo' | 'redis' | 'environment'> & { stop(): Promise<void> };

/** Starts them in a temporary folder, which goes with them. */
export async function openStores(say: (line: string) => void): Promise<Stores> {
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-bench-'));
  const { mongo, redis, stop } = await startServers({ env: process.env, dir, mongo: { cacheGb: 2 }, progress: say });
  return {
    mongo,
    redis,
    environment: (extra = {}) => {
      const unique = randomBytes(4).toString('hex');
      return {
        MONGODB_URI: mongo.uri,
        REDIS_URL: redis.url,
        KEYTURN_DATABASE: `bench_${unique}`,
        KEYTURN_QUEUE_PREFIX: `bench-${unique}`,
        KEYTURN_ROOT_KEYS: randomBytes(32).toString('base64'),
        KEYTURN_JOURNAL_DIR: join(dir, unique, 'journal'),
        KEYTURN_OCSF_DIR: join(dir, unique, 'ocsf'),
        KEYTURN_LOG_LEVEL: 'warn',
        ...extra,
      };
    },
    stop: async () => {
      await stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
