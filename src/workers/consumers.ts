/** The queues' consumers (BullMQ): take jobs from Redis, and process each in a slot of the bulkhead. */
import { DelayedError, type Job as Message, type Telemetry, Worker } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { toAppError } from '../shared/platform/errors.ts';
import { makeSlots, type Slots } from '../shared/providers/bulkhead.ts';
import { CONSUMER } from '../shared/queue/connections.ts';
import { JOBS, WORKER_SETTINGS } from '../shared/queue/jobs.ts';
import { partitionOf } from '../shared/queue/partitions.ts';
import type { Job, WorkerDeps } from '../shared/work/job.ts';
import { answerExternal, EXTERNAL_KEEP } from './external-jobs.ts';

export type Consumers = {
  /** Takes no more jobs, and waits for those in hand. `force`: does not wait. */
  close(force?: boolean): Promise<void>;
};

type ConsumerDeps = Pick<WorkerDeps, 'config' | 'clock' | 'log'>;

/** Begins to work on the queues of these jobs, in every partition. Resolves when Redis has answered. `draining` tells the jobs to end. */
export async function openConsumers(deps: ConsumerDeps, jobs: Job[], draining: AbortSignal): Promise<Consumers> {
  const telemetry = new BullMQOtel({ tracerName: 'keyturn' });
  const partitions = Array.from({ length: deps.config.queuePartitions }, (_, partition) => partition);
  const workers = jobs.flatMap((job) =>
    partitions.map((partition) => openWorker(deps, { job, partition, telemetry, draining })),
  );
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  return {
    close: async (force) => void (await Promise.allSettled(workers.map((worker) => worker.close(force)))),
  };
}

type Opening = { job: Job; partition: number; telemetry: Telemetry; draining: AbortSignal };

function openWorker(deps: ConsumerDeps, { job, partition, telemetry, draining }: Opening): Worker {
  const { config } = deps;
  const { queue, prefix } = partitionOf(config.queuePrefix, job.name, partition);
  const concurrency = job.name === 'refresh' ? config.refreshConcurrency : JOBS[job.name].concurrency;
  const slots = makeSlots(concurrency);
  const { external } = job;
  const process = (message: Message, token?: string): Promise<unknown> =>
    external
      ? answerExternal(deps, { ...job, external }, message, { token, draining })
      : inSlot(deps, slots, message, token, () => processOne(deps, job, message.data, draining));
  const worker = new Worker(queue, process, {
    connection: { url: config.redisUrl, ...CONSUMER },
    prefix,
    concurrency,
    telemetry,
    ...WORKER_SETTINGS,
    ...(external && EXTERNAL_KEEP),
  });
  worker.on('error', (err) => deps.log.warn({ err, queue }, 'queue connection'));
  return worker;
}

const CROWDED_PAUSE_MS = 300;

/** A job that finds no slot for its service is put off for a moment. One that is about no service takes none. */
async function inSlot(
  { clock }: ConsumerDeps,
  slots: Slots,
  message: Message,
  token: string | undefined,
  work: () => Promise<void>,
): Promise<void> {
  const service = message.data?.service;
  if (typeof service !== 'string') return work();
  if (await slots.tryRun(service, work)) return;
  await message.moveToDelayed(clock.now() + CROWDED_PAUSE_MS, token);
  throw new DelayedError();
}

/** A job is a hint: what goes wrong is logged, and the work is due again in MongoDB. */
async function processOne(deps: ConsumerDeps, job: Job, data: unknown, draining: AbortSignal): Promise<void> {
  try {
    await job.process(data, draining);
  } catch (thrown) {
    const err = toAppError(thrown);
    const isOurs = err.code === 'internal' || err.code === 'invalid_request';
    deps.log[isOurs ? 'error' : 'warn']({ err, queue: job.name }, 'a job ended early; its work is due again');
  }
}
