/** Holding objects while a job works on them. */
import type { Document } from 'mongodb';
import { toAppError } from '../platform/errors.ts';
import type { JobName } from '../queue/jobs.ts';
import type { Documents } from '../store/database.ts';
import { type LeasedCollection, releaseLeases, renewLeases, takeLeases } from '../store/lease.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';
import type { WorkerDeps } from './job.ts';
import { retryWhileStoreIsDown } from './outages.ts';

/** A journal that was not touched for this part of a lease counts as abandoned. */
export const ABANDONED_SHARE = 0.5;
/** A call is made only under a lease that is younger than that: else another process may act on the same credential. */
const MAX_FRESH_SHARE = 0.45;
const MIN_FRESH_SHARE = 0.3;

/** A lease is renewed after this part of it, so that it stays fresh while MongoDB is there. */
const RENEW_SHARE = 0.25;

/**
 * How old a lease may be for a call to be made under it. The call ends within twice its time-out, and should end before
 * the lease does: else the next holder asks about a refresh token that our request is still on its way to spend.
 */
function freshMs({ leaseMs: lease, callTimeoutMs: call }: HoldDeps['config']): number {
  return Math.min(Math.max(lease - 2 * call, MIN_FRESH_SHARE * lease), MAX_FRESH_SHARE * lease);
}

/** Compare-and-set on a held credential: it is as it was read, under the same lease. */
export function asRead({ _id, tenantId, fence, generation }: CredentialDoc) {
  return { _id, tenantId, fence, generation };
}

type HoldDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'config' | 'workerId' | 'log' | 'journal'>;

export type HoldRequest = {
  ids: string[];
  purpose: string;
  where?: Document;
  /** The job whose `recover` takes up what this process leaves behind. Absent: nothing is journalled. */
  op?: JobName;
  /** While it has not aborted, giving back waits for MongoDB; after that the journal or the lease's end settles it. */
  signal?: AbortSignal;
};

export type Hold<D> = {
  holder: string;
  docs: D[];
  /**
   * Whether the lease on `id` (on all, when none is named) is ours and so young that nobody else may act yet. Asked right
   * before a provider is called: a process that was frozen, or cut off from MongoDB, does not send under a lease that
   * has been taken over.
   */
  isFresh(id?: string): boolean;
  /** `id` was released by a write of the work's own: it is neither renewed nor given back. */
  released(id: string): void;
  /** Leaves the lease on `id` to its end: what was sent under it is not on the record yet, and the journal has it. */
  keep(id: string): void;
  /** Ends the renewal, and gives back what the work did not release by a write of its own. */
  end(): Promise<void>;
};

/**
 * Takes leases on what is free among `ids` and renews them until `end`. All that is held then, and was not released by a
 * commit, is given back, so that an error in between delays nobody. Throws `store_unavailable`.
 */
export async function hold<N extends LeasedCollection>(
  deps: HoldDeps,
  name: N,
  request: HoldRequest,
): Promise<Hold<Documents[N]>> {
  const holder = `${deps.workerId}/${deps.random.bytes(8).toString('hex')}`;
  const leaseMs = deps.config.leaseMs;
  const { op, signal } = request;
  const giveBack = (ids: string[]) =>
    retryWhileStoreIsDown(deps, signal ?? AbortSignal.abort(), () =>
      releaseLeases(deps.database, name, { ids, holder }),
    );
  if (op) deps.journal.taking({ op, in: name, holder, ids: request.ids });
  const term = { since: deps.clock.now(), ids: new Set<string>() };
  const docs = await takeLeases(deps.database, name, { ...request, holder, leaseMs }).catch(async (error) => {
    // The server may have granted them before the answer got lost.
    await giveBack(request.ids);
    if (op) deps.journal.ended(holder, []);
    throw error;
  });
  if (op) deps.journal.leased(holder, docs);
  const ids = docs.map((doc) => doc._id);
  term.ids = new Set(ids);
  const ended = new AbortController();
  const kept = new Set<string>();
  const open = new Set(ids);
  const renewal = renew(deps, name, { open, holder, leaseMs, term }, ended.signal);
  return {
    holder,
    docs,
    isFresh: (id) => {
      const isYoung = deps.clock.now() - term.since < freshMs(deps.config);
      return isYoung && (id === undefined ? [...open].every((one) => term.ids.has(one)) : term.ids.has(id));
    },
    released: (id) => void open.delete(id),
    keep: (id) => void kept.add(id),
    end: async () => {
      ended.abort();
      await renewal;
      await giveBack([...open].filter((id) => !kept.has(id)));
      if (op) deps.journal.ended(holder, [...kept]);
    },
  };
}

type Renewal = { open: Set<string>; holder: string; leaseMs: number; term: { since: number; ids: Set<string> } };

async function renew(deps: HoldDeps, name: LeasedCollection, request: Renewal, ended: AbortSignal): Promise<void> {
  while (request.open.size > 0) {
    await deps.clock.sleep(request.leaseMs * RENEW_SHARE, ended);
    if (ended.aborted) return;
    const ids = [...request.open];
    const askedAt = deps.clock.now();
    try {
      // Those that were lost while MongoDB was away do not come back: another worker has them, or had.
      request.term.ids = new Set(await renewLeases(deps.database, name, { ...request, ids }));
      request.term.since = askedAt;
    } catch (error) {
      // Harmless while the lease lasts; after that `isFresh` and the fence guard.
      deps.log.warn({ err: toAppError(error) }, 'leases were not renewed');
    }
  }
}
