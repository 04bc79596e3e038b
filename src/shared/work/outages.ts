/** Going on through an outage: of MongoDB, of a key provider, of the disk. What must not be lost is tried again or put aside. */
import { toAppError } from '../platform/errors.ts';
import type { Change, Outcome } from '../store/commit.ts';
import type { WorkerDeps } from './job.ts';

type RetryDeps = Pick<WorkerDeps, 'clock' | 'log'>;

const FIRST_PAUSE_MS = 100;
const MAX_PAUSE_MS = 2_000;

/**
 * Does what needs MongoDB, again and again while MongoDB is away, until it works or `signal` aborts. Throws
 * `store_unavailable` only in that case; other failures at once.
 */
export async function retryWhileStoreIsDown<T>(
  deps: RetryDeps,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
    try {
      return await work();
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'store_unavailable' || signal.aborted) throw error;
      deps.log.warn({ code: error.code }, 'a write waits for MongoDB');
      await deps.clock.sleep(pauseMs, signal);
    }
  }
}

/**
 * Commits what must not be lost: while MongoDB is away it is tried again, until it works or the process ends (`signal`). Then
 * it rests in the journal. Throws as `retryWhileStoreIsDown`.
 */
export async function persist(
  deps: RetryDeps & Pick<WorkerDeps, 'commit'>,
  change: Change,
  signal: AbortSignal,
): Promise<Outcome> {
  return retryWhileStoreIsDown(deps, signal, () => deps.commit(change));
}

/**
 * Does what must be done before an answer can be journalled, for as long as a key provider or MongoDB is away. It does not
 * end when the process drains: the answer exists only here. Throws at once what waiting does not mend.
 */
export async function retryWhileKeysAreDown<T>(deps: RetryDeps, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (thrown) {
      const { code } = toAppError(thrown);
      if (code !== 'key_unavailable' && code !== 'store_unavailable') throw thrown;
      deps.log.warn({ code }, "a provider's answer waits to be sealed");
      await deps.clock.sleep(MAX_PAUSE_MS);
    }
  }
}

/** Writes an answer to the journal. A full disk must not cost the answer: it goes on to MongoDB without the journal. */
export function keepInJournal(
  deps: Pick<WorkerDeps, 'journal' | 'log'>,
  { _id, fence }: { _id: string; fence: number },
  body: Record<string, unknown>,
): void {
  try {
    deps.journal.replied(_id, fence, body);
  } catch (err) {
    deps.log.error({ err, id: _id }, "a provider's answer is not in the journal");
  }
}
