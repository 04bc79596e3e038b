/** The entries that a subscription is told next: read from the log, and from the deliveries that failed before. */
import { type ChainedEntry, listEntriesAt, listWantedEntries } from '../store/audit/entries.ts';
import { type DeliveryDoc, listRetries } from '../store/delivery/deliveries.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import type { WorkerDeps } from '../work/job.ts';
import type { SinkPlugin } from './sinks/contract.ts';

/** One entry to tell. `delivery`: what is on record of earlier attempts; null when this is the first. */
export type Task = { entry: ChainedEntry; delivery: DeliveryDoc | null };

export type NextTasks = {
  /** Retries first, then entries in the order of the log. */
  tasks: Task[];
  /** Where the cursor stands when all tasks are settled. */
  end: number;
  /** Nothing is left beyond these tasks. */
  isAll: boolean;
  /** When the next of the retries is due that are not yet; null: there is none. */
  nextRetryAt: Date | null;
};

/** Tasks that are read at once. */
const WINDOW = 200;

type QueueDeps = Pick<WorkerDeps, 'database' | 'clock'>;
type Takes = Pick<SinkPlugin, 'takes'>;

/** Up to `WINDOW` tasks of a subscription that are due, but no more than `max`. */
export async function nextTasks(
  deps: QueueDeps,
  sub: SubscriptionDoc,
  plugin: Takes,
  max = WINDOW,
): Promise<NextTasks> {
  const limit = Math.min(WINDOW, max);
  const [retries, found] = await Promise.all([dueRetries(deps, sub, limit), newEntries(deps, sub, plugin, limit)]);
  const left = limit - retries.tasks.length;
  const fresh = found.slice(0, left);
  const isAll = found.length < left;
  const last = fresh.at(-1)?.seq ?? sub.cursor;
  const tasks = [...retries.tasks, ...fresh.map((entry) => ({ entry, delivery: null }))];
  // Up to `wantedSeq` everything was in the log before it was read; what came in since is not passed over.
  return { tasks, end: isAll ? Math.max(last, sub.wantedSeq) : last, isAll, nextRetryAt: retries.nextAt };
}

async function dueRetries({ database, clock }: QueueDeps, sub: SubscriptionDoc, limit: number) {
  const { _id: subscriptionId, tenantId } = sub;
  // One more than may be told: it says when the next is due.
  const waiting = await listRetries(database, { tenantId, subscriptionId, limit: limit + 1 });
  const now = new Date(clock.now());
  const due = waiting.filter(({ nextAttemptAt }) => nextAttemptAt! <= now).slice(0, limit);
  const nextAt = waiting[due.length]?.nextAttemptAt ?? null;
  if (due.length === 0) return { tasks: [], nextAt };
  const entries = await listEntriesAt(database, { tenantId, seqs: due.map(({ seq }) => seq) });
  const bySeq = new Map(entries.map((entry) => [entry.seq, entry]));
  const tasks: Task[] = due.flatMap((delivery) => {
    const entry = bySeq.get(delivery.seq);
    return entry ? [{ entry, delivery }] : [];
  });
  return { tasks, nextAt };
}

function newEntries(
  { database }: QueueDeps,
  { tenantId, cursor, filter }: SubscriptionDoc,
  { takes }: Takes,
  limit: number,
): Promise<ChainedEntry[]> {
  const { types, services, outcomes } = filter;
  const wanted = { tenantId, after: cursor, types: [types, [...(takes ?? [])]], services, outcomes };
  return listWantedEntries(database, wanted, limit);
}
