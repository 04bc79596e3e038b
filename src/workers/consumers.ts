/** Runs the processors of one process: its queues, its sweep, its journal, and its end. */
import { DelayedError, type Job as Message, type Telemetry, Worker } from 'bullmq';
import { BullMQOtel } from 'bullmq-otel';
import { makeSemaphore, type Semaphore } from '../shared/platform/concurrency/semaphore.ts';
import { AppError, toAppError } from '../shared/platform/errors.ts';
import { CONSUMER, partitionOf } from '../shared/queue/hints.ts';
import { JOBS, type JobName, WORKER_SETTINGS } from '../shared/queue/jobs.ts';
import type { Job, WorkerDeps } from '../shared/work/job.ts';
import { recoverJournals } from '../shared/work/recovery.ts';
import { answerExternal, EXTERNAL_KEEP } from './external-jobs.ts';
import { CREATE_JOBS } from './jobs.ts';
import { sweep } from './sweep.ts';

/** The queue name that stands for the sweep in `KEYTURN_QUEUES`. */
export const SWEEP = 'sweep';

export type RunningConsumers = {
  /** Lets work in hand finish, within a limit. False: some is still under way, and its answers go to the journal. */
  stop(): Promise<boolean>;
};

const JOURNAL_TOUCH_MS = 1_000;
/** Time to write an answer that came at the very end. */
const COMMIT_MS = 2_000;

/** Starts workers for the named queues (all when none is named). Throws `config_invalid` for a queue that there is not. */
export async function openConsumers(given: Omit<WorkerDeps, 'placesAt'>): Promise<RunningConsumers> {
  const deps: WorkerDeps = { ...given, placesAt: placesPerProvider(given.providers) };
  const jobs = new Map(CREATE_JOBS.map((create) => create(deps)).map((job) => [job.name, job]));
  const names = chosenQueues(deps.config.queues, [...jobs.keys()]);
  const draining = new AbortController();
  const telemetry = new BullMQOtel({ tracerName: 'keyturn' });
  const workers = names.flatMap((name) =>
    name === SWEEP ? [] : openWorkers(deps, jobs.get(name)!, draining.signal, telemetry),
  );
  const ended = new AbortController();
  // A loop of its own, to the very end: recovery may wait for MongoDB, and a silent journal is taken to be abandoned.
  const alive = every(deps, JOURNAL_TOUCH_MS, ended.signal, async () => deps.journal.touch());
  const loops = [every(deps, JOURNAL_TOUCH_MS, draining.signal, () => recoverJournals(deps, jobs))];
  if (names.includes(SWEEP)) {
    loops.push(every(deps, deps.config.sweepPauseMs, draining.signal, () => sweep(deps)));
  }
  await Promise.all(workers.map((worker) => worker.waitUntilReady()));
  deps.log.info({ queues: names, workerId: deps.workerId }, 'workers are running');
  return {
    stop: async () => {
      const finished = await stop(deps, workers, loops, draining);
      ended.abort();
      await alive;
      return finished;
    },
  };
}

/** A share of a provider's places is left to revocations and to people who wait. */
const PLACES_SHARE = 0.8;

function placesPerProvider(providers: WorkerDeps['providers']): WorkerDeps['placesAt'] {
  const places = new Map<string, Semaphore>();
  return (service) => {
    const known = places.get(service);
    if (known) return known;
    const made = makeSemaphore(Math.max(1, Math.floor(providers.get(service).maxConcurrent * PLACES_SHARE)));
    places.set(service, made);
    return made;
  };
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
  const settings = { redisUrl: config.redisUrl, prefix: config.queuePrefix, partitions: 1 };
  const concurrency = job.name === 'refresh' ? config.refreshConcurrency : JOBS[job.name].concurrency;
  return Array.from({ length: config.queuePartitions }, (_, partition) => {
    const { queue, prefix } = partitionOf(settings, job.name, partition);
    const lanes = makeLanes(deps.clock, concurrency);
    const { external } = job;
    const process = (message: Message, token?: string): Promise<unknown> =>
      external
        ? answerExternal(deps, { ...job, external }, message, { token, draining })
        : lanes.run(message, token, () => processOne(deps, job, message.data, draining));
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
  });
}

/** One service may fill this share of a worker's slots: a provider that hangs does not hold up the others (promise 9). */
const LANE_SHARE = 0.75;
const CROWDED_PAUSE_MS = 300;

/** Keeps count of the jobs at work by service; one that finds its lane full is put off for a moment. */
function makeLanes(clock: WorkerDeps['clock'], concurrency: number) {
  const most = Math.max(1, Math.floor(concurrency * LANE_SHARE));
  const busy = new Map<string, number>();
  return {
    run: async (message: Message, token: string | undefined, work: () => Promise<void>): Promise<void> => {
      const lane = message.data?.service;
      if (typeof lane !== 'string') return work();
      const count = busy.get(lane) ?? 0;
      if (count >= most) {
        await message.moveToDelayed(clock.now() + CROWDED_PAUSE_MS, token);
        throw new DelayedError();
      }
      busy.set(lane, count + 1);
      try {
        await work();
      } finally {
        busy.set(lane, busy.get(lane)! - 1);
      }
    },
  };
}

/** A job is a hint: what goes wrong is logged, and the work is due again in MongoDB. */
async function processOne(deps: WorkerDeps, job: Job, data: unknown, draining: AbortSignal): Promise<void> {
  try {
    await job.process(data, draining);
  } catch (thrown) {
    const err = toAppError(thrown);
    const isOurs = err.code === 'internal' || err.code === 'invalid_request';
    deps.log[isOurs ? 'error' : 'warn']({ err, queue: job.name }, 'a job ended early; its work is due again');
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
): Promise<boolean> {
  draining.abort();
  const closed = Promise.allSettled([...loops, ...workers.map((worker) => worker.close())]);
  const limit = new AbortController();
  const { drainMs, callTimeoutMs: callMs } = deps.config;
  // A call that was made is waited for, whatever the limit: its answer exists once. It ends within twice its time-out.
  const timedOut = deps.clock.sleep(Math.max(drainMs, 2 * callMs + COMMIT_MS), limit.signal);
  const isLate = await Promise.race([closed.then(() => false), timedOut.then(() => true)]);
  if (isLate) {
    deps.log.warn('work in hand did not end in time; its leases lapse and others take it up');
    await Promise.allSettled(workers.map((worker) => worker.close(true)));
  }
  limit.abort();
  return !isLate;
}
