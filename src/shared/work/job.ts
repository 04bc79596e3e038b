/** The contract of jobs. Each job stands in a folder of its domain, and in one row of `workers/jobs.ts`. */
import type { Semaphore } from '../platform/concurrency/semaphore.ts';
import { AppError } from '../platform/errors.ts';
import { JOBS, type JobName, type JobPayload, PAYLOADS } from '../queue/jobs.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Metrics } from '../runtime/metrics.ts';
import type { Journal, OpenAction } from './journal.ts';

/** Everything that a job is given when it is created. */
export type WorkerDeps = Deps & {
  journal: Journal;
  /** Unique to this process; the beginning of every lease holder's name. */
  workerId: string;
  metrics: Pick<Metrics, 'refreshes'>;
  /** The places for refreshes at a provider; `providers/bulkhead.ts` says what is left to others. */
  placesAt(service: string): Semaphore;
};

/**
 * The work of a job. It re-reads MongoDB, may run twice, and ends soon after `signal` aborts: it finishes the calls in hand and
 * leaves the rest, which is due again by itself.
 */
type Handlers<P> = {
  process(payload: P, signal: AbortSignal): Promise<unknown>;
  /** Set where others add the jobs: they may read what `process` returns, or the problem that it throws. */
  external?: External;
  /**
   * Commits an answer that a dead process of this job left in its journal. Idempotent; when it throws, it is called
   * again later.
   */
  recover?(action: OpenAction): Promise<void>;
};

/** A job that others add; see `workers/external-jobs.ts`. */
export type External = {
  /** Puts a refused job on the record. `data` is as it came, and is in Redis no more. Does not throw. */
  refused(data: unknown, error: AppError): Promise<void>;
};

/** A job of one process. `process` takes a payload as it came; one that is malformed throws `invalid_request`. */
export type Job = Handlers<unknown> & { readonly name: JobName };

/** Makes a job for a process. State that lives from one payload to the next is in its closure. */
export type CreateJob = (deps: WorkerDeps) => Job;

/** Joins a job to its queue: every payload is checked by the schema of the queue's row before it is processed. */
export function defineJob<N extends JobName>(
  name: N,
  create: (deps: WorkerDeps) => Handlers<JobPayload<N>>,
): CreateJob {
  const schema = PAYLOADS[JOBS[name].payload];
  return (deps) => {
    const { process, ...rest } = create(deps);
    return {
      name,
      ...rest,
      process: async (data, signal) => {
        const payload = schema.safeParse(data);
        // Messages of zod name the field and the rule, never the value.
        const [issue] = payload.error?.issues ?? [];
        if (issue) {
          throw new AppError('invalid_request', { detail: `${['data', ...issue.path].join('.')}: ${issue.message}` });
        }
        return process(payload.data as JobPayload<N>, signal);
      },
    };
  };
}
