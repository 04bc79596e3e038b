/** What a lane has to tell next, read from the log and from what failed before. */
import type { Filter } from 'mongodb';
import type { ChainedEntry } from '../store/audit/entries.ts';
import type { DeliveryDoc } from '../store/delivery/deliveries.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import type { WorkerDeps } from '../work/job.ts';
import { type SinkPlugin, typeRegExp } from './sinks/contract.ts';

/** One entry to tell. `delivery`: what is on record of earlier attempts; null when this is the first. */
export type Task = { entry: ChainedEntry; delivery: DeliveryDoc | null };

export type Work = {
  /** Retries first, then entries in the order of the log. */
  tasks: Task[];
  /** Where the cursor stands when all tasks are settled. */
  end: number;
  /** Nothing is left beyond these tasks. */
  isAll: boolean;
  /** When the next of the retries is due that are not yet; null: there is none. */
  nextRetryAt: Date | null;
};

/** Entries that a lane takes at once. */
const WINDOW = 200;

type WorkDeps = Pick<WorkerDeps, 'database' | 'clock'>;

/** Up to `WINDOW` tasks of a subscription that are due, but no more than `most`. */
export async function nextWork(
  deps: WorkDeps,
  sub: SubscriptionDoc,
  plugin: Pick<SinkPlugin, 'takes'>,
  most = WINDOW,
): Promise<Work> {
  const limit = Math.min(WINDOW, most);
  const [retries, found] = await Promise.all([dueRetries(deps, sub, limit), entriesAfter(deps, sub, plugin, limit)]);
  const left = limit - retries.tasks.length;
  const fresh = found.slice(0, left);
  const isAll = found.length < left;
  const last = fresh.at(-1)?.seq ?? sub.cursor;
  const tasks = [...retries.tasks, ...fresh.map((entry) => ({ entry, delivery: null }))];
  // Up to `wantedSeq` everything was in the log before it was read; what came in since is not passed over.
  return { tasks, end: isAll ? Math.max(last, sub.wantedSeq) : last, isAll, nextRetryAt: retries.nextAt };
}

async function dueRetries(deps: WorkDeps, sub: SubscriptionDoc, limit: number) {
  const { _id: subscriptionId, tenantId } = sub;
  const waiting = await deps.database
    .collection('deliveries')
    .find({ tenantId, subscriptionId, nextAttemptAt: { $gt: new Date(0) } })
    .sort({ nextAttemptAt: 1 })
    .limit(limit + 1)
    .toArray();
  const now = new Date(deps.clock.now());
  const due = waiting.filter(({ nextAttemptAt }) => nextAttemptAt! <= now).slice(0, limit);
  const nextAt = waiting[due.length]?.nextAttemptAt ?? null;
  if (due.length === 0) return { tasks: [], nextAt };
  const seqs = due.map(({ seq }) => seq);
  const entries = await deps.database
    .collection('audit')
    .find({ tenantId, seq: { $in: seqs } })
    .toArray();
  const bySeq = new Map(entries.map((entry) => [entry.seq, entry]));
  const tasks: Task[] = due.flatMap((delivery) => {
    const entry = bySeq.get(delivery.seq);
    return entry ? [{ entry, delivery }] : [];
  });
  return { tasks, nextAt };
}

function entriesAfter(
  deps: WorkDeps,
  sub: SubscriptionDoc,
  plugin: Pick<SinkPlugin, 'takes'>,
  limit: number,
): Promise<ChainedEntry[]> {
  return deps.database.collection('audit').find(matching(sub, plugin)).sort({ seq: 1 }).limit(limit).toArray();
}

function matching({ tenantId, cursor, filter }: SubscriptionDoc, { takes }: Pick<SinkPlugin, 'takes'>) {
  const types = [filter.types, takes ?? []].filter((patterns) => patterns.length > 0 && !patterns.includes('*'));
  const query: Filter<ChainedEntry> = {
    tenantId,
    seq: { $gt: cursor },
    ...(filter.services.length > 0 && { service: { $in: filter.services } }),
    ...(filter.outcomes.length > 0 && { outcome: { $in: filter.outcomes } }),
    ...(types.length > 0 && { $and: types.map((patterns) => ({ type: { $in: patterns.map(typeRegExp) } })) }),
  };
  return query;
}
