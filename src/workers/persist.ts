import type { Change, Outcome } from '../shared/store/commit.ts';
import { toStoreError } from '../shared/store/commit.ts';
import type { WorkerDeps } from './job.ts';

/**
 * Commits what must not be lost: while MongoDB is away it is tried again, until it works or the process ends (`signal`:
 * it then rests in the journal). Throws `store_unavailable` only in that case; other failures at once.
 */
export async function persist(
  deps: Pick<WorkerDeps, 'commit' | 'clock' | 'log'>,
  change: Change,
  signal: AbortSignal,
): Promise<Outcome> {
  for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, 2_000)) {
    try {
      return await deps.commit(change);
    } catch (thrown) {
      const error = toStoreError(thrown);
      if (error.code !== 'store_unavailable' || signal.aborted) throw error;
      deps.log.warn({ code: error.code }, 'a write waits for MongoDB');
      await deps.clock.sleep(pauseMs, signal);
    }
  }
}
