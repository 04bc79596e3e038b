/** The producer's side of the queues: hints that work is due. */
import { Queue, type Telemetry } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { chunk } from '../platform/concurrency/chunk.ts';
import { AppError, toAppError } from '../platform/errors.ts';
import { PRODUCER } from './connections.ts';
import { type EventQueue, JOB_OPTIONS, JOB_SIZE, type JobName, type JobPayload, PRIORITY } from './jobs.ts';
import { partitionFor, partitionOf } from './partitions.ts';

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

/** Opens the producer's side of every queue. Connects in the background; its connection's errors go to `onError`. */
export function openHints(settings: QueueSettings, onError: (error: Error) => void): Hints {
  const connection = new Redis(settings.redisUrl, { ...PRODUCER, lazyConnect: false });
  connection.on('error', onError);
  const queues = openQueues(settings, connection, onError);
  return {
    add: async (name, hints) => {
      const byPartition = Map.groupBy(hints, ({ payload }) => partitionFor(name, payload, settings.partitions));
      await asking(async () => {
        for (const [partition, group] of byPartition) {
          await queues.get(name, partition).addBulk(group.map((hint) => toJob(name, hint)));
        }
      });
    },
    waiting: async (name) => {
      const counts = await Promise.all(
        Array.from({ length: settings.partitions }, (_, partition) =>
          queues.get(name, partition).getJobCountByTypes('waiting', 'prioritized'),
        ),
      );
      return counts.reduce((sum, count) => sum + count, 0);
    },
    remembers: () => asking(async () => (await connection.set(`{${settings.prefix}}:known`, '1', 'NX')) === null),
    ping: () => asking(async () => void (await connection.ping())),
    close: async () => {
      await queues.close();
      connection.disconnect();
    },
  };
}

/** The queues' partitions, each opened when it is first asked for. */
function openQueues(settings: QueueSettings, connection: Redis, onError: (error: Error) => void) {
  const opened = new Map<string, Queue>();
  return {
    get: (name: JobName, partition: number): Queue => {
      const { queue, prefix } = partitionOf(settings.prefix, name, partition);
      const known = opened.get(queue);
      if (known) return known;
      const made = new Queue(queue, {
        connection,
        prefix,
        defaultJobOptions: JOB_OPTIONS,
        skipWaitingForReady: true,
        ...(settings.telemetry && { telemetry: settings.telemetry }),
      });
      made.on('error', onError);
      opened.set(queue, made);
      return made;
    },
    close: () => Promise.allSettled([...opened.values()].map((queue) => queue.close())),
  };
}

async function asking<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new AppError('queue_unavailable', { cause });
  }
}

function toJob<N extends JobName>(name: N, hint: Hint<N>) {
  return {
    name,
    data: hint.payload,
    opts: { priority: hint.priority ?? PRIORITY.normal, ...(hint.id && { jobId: hint.id }) },
  };
}

/** Hints that events are due, `JOB_SIZE` to a job. Redis may be away: the sweep then finds them. Never throws. */
export async function sendEventHints(
  deps: { hints: Hints; log: Pick<Logger, 'warn'> },
  queue: EventQueue,
  eventIds: string[],
  priority: number = PRIORITY.onDemand,
): Promise<void> {
  const hints = chunk(eventIds, JOB_SIZE).map((part) => ({
    payload: { eventIds: part, reason: 'accepted' },
    priority,
  }));
  try {
    await deps.hints.add(queue, hints);
  } catch (error) {
    deps.log.warn({ code: toAppError(error).code, queue }, 'hints were not taken; the sweep finds the work');
  }
}
