import type { Places } from '../platform/concurrency/semaphore.ts';
import type { AppError } from '../platform/errors.ts';
import type { JobName, JobPayload } from '../queue/jobs.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Journal, OpenAction } from './journal.ts';

/** What a processor is given beside its payload. */
export type WorkerDeps = Deps & {
  journal: Journal;
  /** Unique to this process; the beginning of every lease holder's name. */
  workerId: string;
  /** Places that this process has at a provider: its jobs, side by side, stay within what the provider allows. */
  placesAt(service: string): Places;
};

/**
 * One file in `jobs/` exports one as `plugin`. A processor re-reads MongoDB, may run twice, and ends soon after `signal`
 * aborts: it finishes the calls in hand and leaves the rest, which is due again by itself.
 */
export type Job<N extends JobName = JobName> = {
  name: N;
  process(deps: WorkerDeps, payload: JobPayload<N>, signal: AbortSignal): Promise<unknown>;
  /** Set where others add the jobs: they may read what `process` returns, or the problem that it throws. */
  foreign?: Foreign;
  /**
   * Commits an answer that a dead process of this job left in its journal. Idempotent; when it throws, it is called
   * again later.
   */
  recover?(deps: WorkerDeps, action: OpenAction): Promise<void>;
};

export type Foreign = {
  /** Puts a refused job on the record. `data` is as it came, and is in Redis no more. Does not throw. */
  refused(deps: WorkerDeps, data: unknown, error: AppError): Promise<void>;
};

/** Types a job without losing its name. */
export function defineJob<N extends JobName>(job: Job<N>): Job<N> {
  return job;
}
