/** How processes connect to Redis, and what they demand of it. */
import { Redis, type RedisOptions } from 'ioredis';
import { AppError } from '../platform/errors.ts';

/** For those who add jobs: a call fails fast while Redis is away, rather than hold a request. */
export const PRODUCER: RedisOptions = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  commandTimeout: 3_000,
  retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
};

/** For those who work on jobs: a call waits for Redis as long as it takes. */
export const CONSUMER = {
  maxRetriesPerRequest: null,
  retryStrategy: (attempt: number) => Math.min(attempt * 100, 2_000),
} satisfies RedisOptions;

/**
 * Refuses a Redis that may evict keys: its queues lose jobs, and nobody is told. Throws `config_invalid` with how to set
 * it, `queue_unavailable` when Redis does not answer.
 */
export async function assertRedis(redisUrl: string): Promise<void> {
  const redis = new Redis(redisUrl, { ...PRODUCER, lazyConnect: true, retryStrategy: () => null });
  redis.on('error', () => {});
  try {
    await redis.connect();
    const policy = /maxmemory_policy:(\S+)/.exec(await redis.info('memory'))?.[1];
    if (policy === 'noeviction') return;
    throw new AppError('config_invalid', {
      detail:
        `Redis has maxmemory-policy ${policy}, so it may drop jobs. Set it with ` +
        '`redis-cli CONFIG SET maxmemory-policy noeviction` and in redis.conf, then start again.',
    });
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('queue_unavailable', { cause, detail: 'Redis does not answer; check REDIS_URL.' });
  } finally {
    redis.disconnect();
  }
}
