/** What a lane has to tell next, read from the log and from what failed before. */
import type { Filter } from 'mongodb';
import { type SinkPlugin, typeRegExp } from '../shared/sink.ts';
import type { ChainedEntry } from '../shared/store/documents.ts';
import type { DeliveryDoc, SubscriptionDoc } from '../shared/store/subscription-documents.ts';
import type { WorkerDeps } from './job.ts';

/** One entry to tell. `delivery`: what is on record of earlier attempts; null when this is the first. */
export type Task = { entry: ChainedEntry; delivery: DeliveryDoc | null };

export type Work = {
  /** Retries first, then entries in the order of the log. */
  tasks: Task[];
  /** Where the cursor stands when all tasks are settled. */
  end: number;
  /** Nothing is left beyond these tasks. */
  isAll: boolean;
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
  const head = await deps.database.collection('audit_heads').findOne({ _id: sub.tenantId, tenantId: sub.tenantId });
  const retries = await dueRetries(deps, sub, limit);
  const left = limit - retries.length;
  const fresh = left > 0 ? await entriesAfter(deps, sub, plugin, left) : [];
  const isAll = fresh.length < left;
  // The head was read before the entries: what came in between is not passed over.
  const end = isAll ? Math.max(sub.cursor, head?.seq ?? 0, fresh.at(-1)?.seq ?? 0) : (fresh.at(-1)?.seq ?? sub.cursor);
  return { tasks: [...retries, ...fresh.map((entry) => ({ entry, delivery: null }))], end, isAll };
}

async function dueRetries(deps: WorkDeps, sub: SubscriptionDoc, limit: number): Promise<Task[]> {
  const { _id: subscriptionId, tenantId } = sub;
  const now = new Date(deps.clock.now());
  const due = await deps.database
    .collection('deliveries')
    .find({ tenantId, subscriptionId, nextAttemptAt: { $lte: now } })
    .sort({ nextAttemptAt: 1 })
    .limit(limit)
    .toArray();
  if (due.length === 0) return [];
  const seqs = due.map(({ seq }) => seq);
  const entries = await deps.database
    .collection('audit')
    .find({ tenantId, seq: { $in: seqs } })
    .toArray();
  const bySeq = new Map(entries.map((entry) => [entry.seq, entry]));
  return due.flatMap((delivery) => {
    const entry = bySeq.get(delivery.seq);
    return entry ? [{ entry, delivery }] : [];
  });
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
