/** Runs the processors of one process: its queues, its sweep, its journal, and its end. */
import { type Telemetry, Worker } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { loadPlugin, pluginNames } from '../shared/crypto/discover.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { JOBS, type JobName, PAYLOADS, WORKER_SETTINGS } from '../shared/jobs.ts';
import { CONSUMER, partitionOf } from '../shared/queue.ts';
import type { Job, WorkerDeps } from './job.ts';
import { recoverJournals } from './recovery.ts';
import { sweep } from './sweep.ts';

/** The queue name that stands for the sweep in `KEYTURN_QUEUES`. */
export const SWEEP = 'sweep';

export type RunningWorkers = {
  /** Lets work in hand finish, at most for the configured time. */
  stop(): Promise<void>;
};

const JOURNAL_TOUCH_MS = 1_000;

/** Starts workers for the named queues (all when none is named). Throws `config_invalid` for a queue that there is not. */
export async function runWorkers(deps: WorkerDeps): Promise<RunningWorkers> {
  const jobs = await loadJobs();
  const names = chosenQueues(deps.config.KEYTURN_QUEUES, [...jobs.keys()]);
  const draining = new AbortController();
  const telemetry = new BullMQOtel({ tracerName: 'keyturn' });
  const workers = names.flatMap((name) =>
    name === SWEEP ? [] : openWorkers(deps, jobs.get(name)!, draining.signal, telemetry),
  );
  const loops = [
    every(deps, JOURNAL_TOUCH_MS, draining.signal, async () => {
      deps.journal.touch();
      await recoverJournals(deps, jobs);
    }),
  ];
  if (names.includes(SWEEP)) {
    loops.push(every(deps, deps.config.KEYTURN_SWEEP_SECONDS, draining.signal, () => sweep(deps)));
  }
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  deps.log.info({ queues: names, workerId: deps.workerId }, 'workers are running');
  return { stop: () => stop(deps, workers, loops, draining) };
}

/** Every file in `jobs/` is one job. */
async function loadJobs(): Promise<Map<JobName, Job>> {
  const folder = new URL('./jobs/', import.meta.url);
  const jobs = new Map<JobName, Job>();
  for (const name of await pluginNames(folder, import.meta.url)) {
    const job = await loadPlugin<Job>(folder, import.meta.url, 'job', name);
    jobs.set(job.name, job);
  }
  return jobs;
}

function chosenQueues(asked: string[], known: JobName[]): (JobName | typeof SWEEP)[] {
  const all = [...known, SWEEP] as const;
  const unknown = asked.filter((name) => !(all as readonly string[]).includes(name));
  if (unknown.length > 0) {
    throw new AppError('config_invalid', {
      detail: `KEYTURN_QUEUES names ${unknown.join(', ')}; there are: ${all.join(', ')}.`,
    });
  }
  return asked.length === 0 ? [...all] : (asked as (JobName | typeof SWEEP)[]);
}

function openWorkers(deps: WorkerDeps, job: Job, draining: AbortSignal, telemetry: Telemetry): Worker[] {
  const { config } = deps;
  const settings = { redisUrl: config.REDIS_URL, prefix: config.KEYTURN_QUEUE_PREFIX, partitions: 1 };
  const concurrency = job.name === 'refresh' ? config.KEYTURN_REFRESH_CONCURRENCY : JOBS[job.name].concurrency;
  return Array.from({ length: config.KEYTURN_QUEUE_PARTITIONS }, (_, partition) => {
    const { queue, prefix } = partitionOf(settings, job.name, partition);
    const worker = new Worker(queue, (message) => processOne(deps, job, message.data, draining), {
      connection: { url: config.REDIS_URL, ...CONSUMER },
      prefix,
      concurrency,
      telemetry,
      ...WORKER_SETTINGS,
    });
    worker.on('error', (err) => deps.log.warn({ err, queue }, 'queue connection'));
    return worker;
  });
}

/** A job is a hint: what goes wrong is logged, and the work is due again in MongoDB. */
async function processOne(deps: WorkerDeps, job: Job, data: unknown, draining: AbortSignal): Promise<void> {
  const payload = PAYLOADS[JOBS[job.name].payload].safeParse(data);
  if (!payload.success) {
    deps.log.error({ queue: job.name }, 'a job with a malformed payload was dropped');
    return;
  }
  try {
    await job.process(deps, payload.data as never, draining);
  } catch (thrown) {
    const err = toAppError(thrown);
    const level = err.code === 'internal' ? 'error' : 'warn';
    deps.log[level]({ err, queue: job.name }, 'a job ended early; its work is due again');
  }
}

async function every(
  deps: WorkerDeps,
  pauseMs: number,
  ended: AbortSignal,
  work: () => Promise<unknown>,
): Promise<void> {
  while (!ended.aborted) {
    await work().catch((err) => deps.log.warn({ err }, 'a round of the sweep was missed'));
    await deps.clock.sleep(pauseMs, ended);
  }
}

async function stop(
  deps: WorkerDeps,
  workers: Worker[],
  loops: Promise<void>[],
  draining: AbortController,
): Promise<void> {
  draining.abort();
  const closed = Promise.allSettled([...loops, ...workers.map((worker) => worker.close())]);
  const limit = new AbortController();
  const timedOut = deps.clock.sleep(deps.config.KEYTURN_DRAIN_SECONDS, limit.signal).then(() => 'late' as const);
  if ((await Promise.race([closed, timedOut])) === 'late') {
    deps.log.warn('work in hand did not end in time; its leases lapse and others take it up');
    await Promise.allSettled(workers.map((worker) => worker.close(true)));
  }
  limit.abort();
}
