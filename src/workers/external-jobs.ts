/**
 * Jobs that others add. Their outcome stays in Redis for a while, so that the sender can read it. Their payload does not: it may
 * hold a secret that should never have been put there.
 */
import { DelayedError, type Job as Message, UnrecoverableError } from 'bullmq';
import { type AppError, toAppError } from '../shared/platform/errors.ts';
import { toProblem } from '../shared/platform/problem-schema.ts';
import type { External, Job, WorkerDeps } from '../shared/work/job.ts';

/** How long the outcome can be read: an age in seconds and a number of jobs. A job's own options win. */
export const EXTERNAL_KEEP = {
  removeOnComplete: { age: 3_600, count: 10_000 },
  removeOnFail: { age: 86_400, count: 10_000 },
} as const;

const PAUSE_MS = 2_000;
/** A job that fails in a way that nobody foresaw is begun this often, then refused. */
const MAX_STARTS = 10;

/**
 * Processes one job and returns its answer, which becomes the job's result. A job that cannot be done yet is put off, and
 * that is not counted as an attempt. A refusal fails the job at once and for good, with its problem (RFC 9457) as the reason.
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
