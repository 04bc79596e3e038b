import { createHash } from 'node:crypto';
import { Queue, type QueueOptions, type Telemetry } from 'bullmq';
import { Redis, type RedisOptions } from 'ioredis';
import type { Logger } from 'pino';
import { AppError, toAppError } from '../platform/errors.ts';
import { JOB_OPTIONS, JOBS, type JobName, type JobPayload, PRIORITY } from './jobs.ts';

/** A hint that work is due. `id` makes it idempotent: an id that is still known to the queue is not added again. */
export type Hint<N extends JobName> = { payload: JobPayload<N>; priority?: number; id?: string };

export type Hints = {
  /** Throws `queue_unavailable` when Redis does not take it; the sweep will find the work in MongoDB. */
  add<N extends JobName>(name: N, hints: Hint<N>[]): Promise<void>;
  /** Jobs that wait in all partitions of a queue. */
  waiting(name: JobName): Promise<number>;
  /** False, once, when Redis holds nothing of ours: at the first start, and after it was wiped. Throws `queue_unavailable`. */
  remembers(): Promise<boolean>;
  ping(): Promise<void>;
  close(): Promise<void>;
};

export type QueueSettings = { redisUrl: string; prefix: string; partitions: number; telemetry?: Telemetry };

/** Name and key prefix of one partition. The braces keep its keys in one slot of a Redis Cluster. */
export function partitionOf(settings: QueueSettings, name: JobName, partition: number) {
  const queue = `${name}-${partition}`;
  return { queue, prefix: `{${settings.prefix}:${queue}}` };
}

/** The connection of whoever adds jobs: fails fast while Redis is away, rather than holding a request. */
export const PRODUCER: RedisOptions = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  commandTimeout: 3_000,
  retryStrategy: (attempt) => Math.min(attempt * 100, 2_000),
};

/** The connection of whoever works jobs: waits for Redis as long as it takes. */
export const CONSUMER = {
  maxRetriesPerRequest: null,
  retryStrategy: (attempt: number) => Math.min(attempt * 100, 2_000),
} satisfies RedisOptions;

/** A queue's partition for an id: the same in every process. */
export function partitionFor(id: string, partitions: number): number {
  return partitions === 1 ? 0 : createHash('sha1').update(id).digest().readUInt32BE() % partitions;
}

/** Opens the producer's side of every queue. Connects in the background. */
export function openHints(settings: QueueSettings, onError: (error: Error) => void): Hints {
  const connection = new Redis(settings.redisUrl, { ...PRODUCER, lazyConnect: false });
  connection.on('error', onError);
  const queues = new Map<string, Queue>();

  const queueFor = (name: JobName, partition: number): Queue => {
    const { queue, prefix } = partitionOf(settings, name, partition);
    let opened = queues.get(queue);
    if (!opened) {
      const options: QueueOptions = {
        connection,
        prefix,
        defaultJobOptions: JOB_OPTIONS,
        skipWaitingForReady: true,
        ...(settings.telemetry && { telemetry: settings.telemetry }),
      };
      opened = new Queue(queue, options);
      opened.on('error', onError);
      queues.set(queue, opened);
    }
    return opened;
  };

  return {
    add: async (name, hints) => {
      const byPartition = Map.groupBy(hints, (hint) => partitionFor(firstId(hint.payload), settings.partitions));
      try {
        for (const [partition, group] of byPartition) {
          await queueFor(name, partition).addBulk(group.map((hint) => toJob(name, hint)));
        }
      } catch (cause) {
        throw new AppError('queue_unavailable', { cause });
      }
    },
    waiting: async (name) => {
      const partitions = Array.from({ length: settings.partitions }, (_, partition) => partition);
      const counts = await Promise.all(
        partitions.map((partition) => queueFor(name, partition).getJobCountByTypes('waiting', 'prioritized')),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    },
    remembers: async () => {
      try {
        return (await connection.set(`{${settings.prefix}}:known`, '1', 'NX')) === null;
      } catch (cause) {
        throw new AppError('queue_unavailable', { cause });
      }
    },
    ping: async () => {
      try {
        await connection.ping();
      } catch (cause) {
        throw new AppError('queue_unavailable', { cause });
      }
    },
    close: async () => {
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
      connection.disconnect();
    },
  };
}

function toJob<N extends JobName>(name: N, hint: Hint<N>) {
  return {
    name,
    data: hint.payload,
    opts: { priority: hint.priority ?? PRIORITY.normal, ...(hint.id && { jobId: hint.id }) },
  };
}

function firstId(payload: JobPayload<JobName>): string {
  if ('tenantId' in payload) return payload.tenantId;
  if ('ids' in payload) return payload.ids[0] ?? '';
  if ('principalId' in payload) return payload.principalId;
  const objects = 'tenantIds' in payload ? payload.tenantIds : (payload as JobPayload<'refresh'>).credentialIds;
  return (objects ?? payload.eventIds)?.[0] ?? '';
}

/**
 * Refuses a Redis that may evict keys: a queue that loses jobs silently. Throws `config_invalid` with how to set it,
 * `queue_unavailable` when Redis does not answer.
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

/** How many objects one job carries at most: the driver's cost per call is shared by so many. */
export const JOB_SIZE = 50;

/** Hints that events are due, `JOB_SIZE` to a job. Redis may be away: the sweep then finds them. Never throws. */
export async function sendEventHints(
  deps: { hints: Hints; log: Pick<Logger, 'warn'> },
  queue: JobName,
  eventIds: string[],
  priority: number = PRIORITY.onDemand,
): Promise<void> {
  const hints = chunk(eventIds, JOB_SIZE).map((part) => ({
    payload: { eventIds: part, reason: 'accepted' },
    priority,
  }));
  try {
    await deps.hints.add(queue as 'exchange', hints);
  } catch (error) {
    deps.log.warn({ code: toAppError(error).code, queue }, 'hints were not taken; the sweep finds the work');
  }
}

/** Splits a list into parts of at most `size`. */
export function chunk<T>(items: T[], size: number): T[][] {
  const parts = Math.ceil(items.length / size);
  return Array.from({ length: parts }, (_, part) => items.slice(part * size, (part + 1) * size));
}

/** Names of all queues, for configuration and metrics. */
export const JOB_NAMES = Object.keys(JOBS) as JobName[];
