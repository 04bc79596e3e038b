/** Holding objects while a job works on them. */
import type { Document } from 'mongodb';
import type { Documents } from '../shared/store/database.ts';
import { type LeasedCollection, releaseLeases, renewLeases, takeLeases } from '../shared/store/lease.ts';
import type { WorkerDeps } from './job.ts';

/** A journal counts as abandoned after half a lease; whoever may still send must be sure of its lease before that. */
export const FRESH_SHARE = 0.45;
export const ABANDONED_SHARE = 0.5;

type HoldDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'config' | 'workerId' | 'log'>;

export type Hold<D> = {
  holder: string;
  docs: D[];
  /**
   * Whether the lease is so young that nobody else may act yet. Asked right before a provider is called: a process that was
   * frozen does not send under a lease that has been taken over.
   */
  isFresh(): boolean;
  /** Ends the renewal, and gives back what the work did not release by a write of its own. */
  end(): Promise<void>;
};

/**
 * Takes leases on what is free among `ids` and renews them until `end`. Everything held and not released by a commit is
 * given back then, so an error in between delays nobody.
 */
export async function hold<N extends LeasedCollection>(
  deps: HoldDeps,
  name: N,
  request: { ids: string[]; purpose: string; where?: Document },
): Promise<Hold<Documents[N]>> {
  const holder = `${deps.workerId}/${deps.random.bytes(8).toString('hex')}`;
  const leaseMs = deps.config.KEYTURN_LEASE_SECONDS;
  const takenAt = deps.clock.now();
  const docs = await takeLeases(deps.database, name, { ...request, holder, leaseMs });
  const ids = docs.map((doc) => doc._id);
  const ended = new AbortController();
  const term = { since: takenAt };
  const renewal = renew(deps, name, { ids, holder, leaseMs, term }, ended.signal);
  return {
    holder,
    docs,
    isFresh: () => deps.clock.now() - term.since < leaseMs * FRESH_SHARE,
    end: async () => {
      ended.abort();
      await renewal;
      await releaseLeases(deps.database, name, { ids, holder });
    },
  };
}

async function renew(
  deps: HoldDeps,
  name: LeasedCollection,
  request: { ids: string[]; holder: string; leaseMs: number; term: { since: number } },
  ended: AbortSignal,
): Promise<void> {
  while (request.ids.length > 0) {
    await deps.clock.sleep(request.leaseMs / 3, ended);
    if (ended.aborted) return;
    const askedAt = deps.clock.now();
    try {
      await renewLeases(deps.database, name, request);
      request.term.since = askedAt;
    } catch (err) {
      // Harmless while the lease lasts; after that `isFresh` and the fence guard.
      deps.log.warn({ err }, 'leases were not renewed');
    }
  }
}
