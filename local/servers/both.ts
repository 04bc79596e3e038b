import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findMongod } from '../mongod/find.ts';
import type { Environment } from '../tools/apt.ts';
import { type MongoOptions, type MongoServer, startMongo } from './mongo.ts';
import { findRedis, type RedisServer, startRedis } from './redis.ts';

/** Both servers of Keyturn, started by us. */
export type Servers = { mongo: MongoServer; redis: RedisServer; stop(): Promise<void> };

export type ServersOptions = {
  /** KEYTURN_MONGOD, PATH, XDG_CACHE_HOME. */
  env: Environment;
  dir: string;
  /** Deletes `dir` on stop. */
  ephemeral?: boolean;
  mongo?: Pick<MongoOptions, 'nodes' | 'cacheGb'>;
  progress: (line: string) => void;
};

/**
 * Finds and starts MongoDB and Redis with their data under `dir`. MongoDB comes first: it locks its data, and so keeps a
 * second Redis off the same files. Throws one sentence that says what is missing.
 */
export async function startServers(options: ServersOptions): Promise<Servers> {
  const { env, dir, ephemeral = false, progress } = options;
  const redisBinary = await findRedis(env, progress);
  const mongoBinary = await findMongod({ env, progress });
  const mongo = await startMongo({ binary: mongoBinary, dir: join(dir, 'mongo'), ...options.mongo });
  const redis = await startRedis({ binary: redisBinary, dir: join(dir, 'redis') }).catch(async (error: unknown) => {
    await mongo.stop();
    throw error;
  });
  const stop = async () => {
    await Promise.all([mongo.stop(), redis.stop()]);
    if (ephemeral) await rm(dir, { recursive: true, force: true });
  };
  return { mongo, redis, stop };
}
