/**
 * Jobs that others add. Their outcome is told to whoever added them, and stays in Redis for a while; what they carried does
 * not: it may be what nobody should have put there.
 */
import { DelayedError, type Job as Message, UnrecoverableError } from 'bullmq';
import { AppError, toAppError } from '../shared/platform/errors.ts';
import { toProblem } from '../shared/platform/problem-schema.ts';
import { JOBS, PAYLOADS } from '../shared/queue/jobs.ts';
import type { Foreign, Job, WorkerDeps } from '../shared/work/job.ts';

/** How long the outcome is there to be read. Seconds, and jobs. A job's own options win. */
export const FOREIGN_KEEP = {
  removeOnComplete: { age: 3_600, count: 10_000 },
  removeOnFail: { age: 86_400, count: 10_000 },
} as const;

const PAUSE_MS = 2_000;
/** So often a job is begun that ends in a failure which nobody foresaw. */
const MOST_STARTS = 10;

/**
 * Works on one, and returns the answer for its result. What cannot be done yet is put off without being counted; a refusal
 * fails the job with its problem (RFC 9457) as the reason, at once and for good.
 */
export async function answerForeign(
  deps: WorkerDeps,
  job: Job & { foreign: Foreign },
  message: Message,
  { token, draining }: { token: string | undefined; draining: AbortSignal },
): Promise<unknown> {
  const { data } = message;
  try {
    const answer = await job.process(deps, checked(job, data) as never, draining);
    await message.updateData({});
    return answer;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (isPassing(error, message)) {
      await message.moveToDelayed(deps.clock.now() + (error.retryAfterMs ?? PAUSE_MS), token);
      throw new DelayedError();
    }
    await message.updateData({});
    await job.foreign.refused(deps, data, error);
    throw new UnrecoverableError(JSON.stringify(toProblem(error)));
  }
}

function checked(job: Job, data: unknown): unknown {
  const parsed = PAYLOADS[JOBS[job.name].payload].safeParse(data);
  if (parsed.success) return parsed.data;
  // Messages of zod name the field and the rule, never the value.
  const { path, message } = parsed.error.issues[0]!;
  throw new AppError('invalid_request', { detail: `${['data', ...path].join('.')}: ${message}` });
}

function isPassing(error: AppError, { attemptsStarted }: Message): boolean {
  if (error.code === 'internal') return attemptsStarted < MOST_STARTS;
  return error.retry === 'backoff' || error.retry === 'later';
}
