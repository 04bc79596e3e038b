/**
 * Jobs that others add. Their outcome is told to whoever added them, and stays in Redis for a while; what they carried does
 * not: it may be what nobody should have put there.
 */
import { DelayedError, type Job as Message, UnrecoverableError } from 'bullmq';
import { type AppError, toAppError } from '../shared/platform/errors.ts';
import { toProblem } from '../shared/platform/problem-schema.ts';
import type { External, Job, WorkerDeps } from '../shared/work/job.ts';

/** How long the outcome is there to be read. Seconds, and jobs. A job's own options win. */
export const EXTERNAL_KEEP = {
  removeOnComplete: { age: 3_600, count: 10_000 },
  removeOnFail: { age: 86_400, count: 10_000 },
} as const;

const PAUSE_MS = 2_000;
/** So often a job is begun that ends in a failure which nobody foresaw. */
const MAX_STARTS = 10;

/**
 * Works on one, and returns the answer for its result. What cannot be done yet is put off without being counted; a refusal
 * fails the job with its problem (RFC 9457) as the reason, at once and for good.
 */
export async function answerExternal(
  deps: Pick<WorkerDeps, 'clock'>,
  job: Job & { external: External },
  message: Message,
  { token, draining }: { token: string | undefined; draining: AbortSignal },
): Promise<unknown> {
  const { data } = message;
  try {
    const answer = await job.process(data, draining);
    await message.updateData({});
    return answer;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (isPassing(error, message)) {
      await message.moveToDelayed(deps.clock.now() + (error.retryAfterMs ?? PAUSE_MS), token);
      throw new DelayedError();
    }
    await message.updateData({});
    await job.external.refused(data, error);
    throw new UnrecoverableError(JSON.stringify(toProblem(error)));
  }
}

function isPassing(error: AppError, { attemptsStarted }: Message): boolean {
  if (error.code === 'internal') return attemptsStarted < MAX_STARTS;
  return error.retry === 'backoff' || error.retry === 'later';
}
