/**
 * Adds each entry as a job to a BullMQ queue in the same Redis, for automation that somebody else runs. The queue's prefix
 * is the tenant's own: no subscription reaches Keyturn's queues, or those of another tenant.
 */
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { z } from 'zod';
import { makeBoundedMap } from '../../../platform/bounded-map.ts';
import { PRODUCER } from '../../../queue/connections.ts';
import { type DeliveryOutcome, defineSink, type Message, type Target } from '../contract.ts';

type Settings = { queue: string };

/** Queues that a process keeps in mind; the oldest is forgotten first. */
const MAX_QUEUES = 1_000;

/** The `prefix` that the consumer gives to its BullMQ `Worker`. */
export function outboxPrefix(queuePrefix: string, tenantId: string): string {
  return `${queuePrefix}-out-${tenantId}`;
}

export const plugin = defineSink<Settings>({
  name: 'bullmq',
  about: 'adds each entry as a job to a BullMQ queue under the prefix <KEYTURN_QUEUE_PREFIX>-out-<tenant id>',
  secret: 'none',
  batchSize: 100,
  concurrency: 1,

  settings: () =>
    z.strictObject({ queue: z.string().regex(/^[A-Za-z0-9_-]{1,60}$/, 'may hold letters, digits, - and _') }),

  create({ config, log }, ended) {
    const connection = new Redis(config.redisUrl, { ...PRODUCER, lazyConnect: true });
    connection.on('error', (err) => log.debug({ err }, 'Redis connection of the bullmq sink'));
    ended.addEventListener('abort', () => connection.disconnect(), { once: true });
    // All share one connection: forgetting one closes nothing.
    const queues = makeBoundedMap<string, Queue>(MAX_QUEUES);
    let opening: Promise<unknown> | undefined;

    const queueFor = ({ tenantId, settings }: Target<Settings>): Queue => {
      const key = `${tenantId}/${settings.queue}`;
      const known = queues.get(key);
      if (known) return known;
      const prefix = outboxPrefix(config.queuePrefix, tenantId);
      const queue = new Queue(settings.queue, { connection, prefix, skipWaitingForReady: true });
      queue.on('error', (err) => log.debug({ err }, 'queue of the bullmq sink'));
      queues.set(key, queue);
      return queue;
    };

    return {
      async deliver(messages, target, signal): Promise<DeliveryOutcome> {
        if (signal.aborted) return { kind: 'interrupted' };
        try {
          // Once: after that the connection comes back by itself.
          opening ??= connection.connect();
          await opening.catch(() => {});
          await queueFor(target).addBulk(messages.map((message) => toJob(message, target.replays)));
          return { kind: 'delivered' };
        } catch {
          return { kind: 'retry', reason: 'queue_unavailable' };
        }
      },
    };
  },
});

/** An id that the queue still knows is not added again, so a repetition is dropped there; a replay is not. */
function toJob(message: Message, replays: number) {
  return {
    name: message.type,
    data: message,
    opts: { jobId: replays === 0 ? message.id : `${message.id}-${replays}` },
  };
}
