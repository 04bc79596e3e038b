/** The life of a worker: it opens what it needs, works on its queues beside three loops, and drains when it is told to. */
import { hostname } from 'node:os';
import { reviveRetiredKeys } from '../shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../shared/platform/clock.ts';
import { aborted } from '../shared/platform/concurrency/aborted.ts';
import type { Config } from '../shared/platform/config/parse.ts';
import { AppError } from '../shared/platform/errors.ts';
import { newId } from '../shared/platform/ids.ts';
import { makeLog } from '../shared/platform/log.ts';
import { systemRandom } from '../shared/platform/random.ts';
import { makeRefreshPlaces } from '../shared/providers/bulkhead.ts';
import type { JobName } from '../shared/queue/jobs.ts';
import { makeMetrics, watchProcess } from '../shared/runtime/metrics.ts';
import { openDeps } from '../shared/runtime/open-deps.ts';
import type { WorkerDeps } from '../shared/work/job.ts';
import { openJournal } from '../shared/work/journal.ts';
import { recoverJournals } from '../shared/work/recovery.ts';
import { type Consumers, openConsumers } from './consumers.ts';
import { CREATE_JOBS } from './jobs.ts';
import { serveMetrics } from './metrics-server.ts';
import { sweep } from './sweep.ts';

/** The name that stands for the sweep in `KEYTURN_QUEUES`. */
const SWEEP = 'sweep';

const JOURNAL_PAUSE_MS = 1_000;
/** Time to write an answer that came at the very end. */
const COMMIT_MS = 2_000;

/**
 * One worker process: works until `stopping` aborts, then finishes what is in hand within KEYTURN_DRAIN_SECONDS and closes
 * everything. Throws what keeps the process from starting.
 */
export async function runWorkers(config: Config, stopping: AbortSignal): Promise<void> {
  const given = { clock: systemClock, random: systemRandom };
  const workerId = newId('worker', given);
  const log = makeLog(config.logLevel, { process: 'workers', host: hostname() });
  const metrics = makeMetrics();
  watchProcess(metrics);
  const server = await serveMetrics({ config, log }, metrics);
  const deps = await openDeps(config, { ...given, log }, reviveRetiredKeys);
  const journal = openJournal(config.journalDir, workerId, systemClock);
  const workers = await startWorkers({ ...deps, metrics, journal, workerId });
  await aborted(stopping);
  log.info('stopping: work in hand is finished first');
  const finished = await workers.stop();
  await server.close();
  await deps.close();
  // Calls that are still under way write their answers to it until the process ends.
  if (finished) journal.close();
  log.info('stopped');
}

export type RunningWorkers = {
  /** Lets work in hand finish, within a limit. False: some is still under way, and its answers go to the journal. */
  stop(): Promise<boolean>;
};

/**
 * Starts what one worker does: the queues that `KEYTURN_QUEUES` names (all, when it names none), the sweep, and the care of
 * the journals. Throws `config_invalid` for a queue that there is not.
 */
export async function startWorkers(given: Omit<WorkerDeps, 'placesAt'>): Promise<RunningWorkers> {
  const deps: WorkerDeps = { ...given, placesAt: makeRefreshPlaces(given.providers) };
  const { config, log } = deps;
  const jobs = new Map(CREATE_JOBS.map((create) => create(deps)).map((job) => [job.name, job]));
  const names = chosenQueues(config.queues, [...jobs.keys()]);
  const draining = new AbortController();
  const ended = new AbortController();
  // To the very end, and in a loop of its own: recovery may wait for MongoDB, and a silent journal is taken to be abandoned.
  const touching = repeat(deps, TOUCH, ended.signal, async () => deps.journal.touch());
  const loops = [repeat(deps, RECOVER, draining.signal, () => recoverJournals(deps, jobs))];
  const chosen = [...jobs.values()].filter(({ name }) => names.includes(name));
  const consumers = await openConsumers(deps, chosen, draining.signal);
  // Last: its first round would find Redis not connected yet.
  if (names.includes(SWEEP)) {
    const pauseMs = config.sweepPauseMs;
    loops.push(
      repeat(deps, { pauseMs, missed: 'a round of the sweep was missed' }, draining.signal, () => sweep(deps)),
    );
  }
  log.info({ queues: names, workerId: deps.workerId }, 'workers are running');
  return {
    stop: async () => {
      draining.abort();
      const finished = await drain(deps, consumers, loops);
      ended.abort();
      await touching;
      return finished;
    },
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
  return asked.length === 0 ? [...all] : all.filter((name) => asked.includes(name));
}

type Loop = { pauseMs: number; missed: string };

const TOUCH: Loop = { pauseMs: JOURNAL_PAUSE_MS, missed: 'the journal got no sign of life' };
const RECOVER: Loop = { pauseMs: JOURNAL_PAUSE_MS, missed: 'the journals of dead processes were not taken up' };

/** Does `work` until `signal` aborts, with a pause after each round. A round that fails is logged, and the next one comes. */
async function repeat(
  { clock, log }: Pick<WorkerDeps, 'clock' | 'log'>,
  { pauseMs, missed }: Loop,
  signal: AbortSignal,
  work: () => Promise<unknown>,
): Promise<void> {
  while (!signal.aborted) {
    await work().catch((err) => log.warn({ err }, missed));
    await clock.sleep(pauseMs, signal);
  }
}

/** Waits for the loops and the jobs in hand, within the limit. False when some did not end in time. */
async function drain(deps: WorkerDeps, consumers: Consumers, loops: Promise<void>[]): Promise<boolean> {
  const closed = Promise.all([...loops, consumers.close()]);
  const limit = new AbortController();
  const { drainMs, callTimeoutMs: callMs } = deps.config;
  // A call that was made is waited for, whatever the limit: its answer exists once. It ends within twice its time-out.
  const timedOut = deps.clock.sleep(Math.max(drainMs, 2 * callMs + COMMIT_MS), limit.signal);
  const isLate = await Promise.race([closed.then(() => false), timedOut.then(() => true)]);
  if (isLate) {
    deps.log.warn('work in hand did not end in time; its leases lapse and others take it up');
    await consumers.close(true);
  }
  limit.abort();
  return !isLate;
}
