/** `audit`: what the detection rules read of the log. Each query is answered by an index and bounded by its limit. */
import type { HasDb } from '../base/collection.ts';
import type { ChainedEntry } from './entries.ts';

const audit = ({ db }: HasDb) => db.collection<ChainedEntry>('audit');

/** A part of a tenant's log: entries of these types with `after` < `seq` ≤ `upTo`. */
export type LogStretch = { tenantId: string; types: readonly string[]; after: number; upTo: number };

/** The first entries of a part of the log, in its order. */
export function listEntriesOfTypes(
  database: HasDb,
  { tenantId, types, after, upTo }: LogStretch,
  limit: number,
): Promise<ChainedEntry[]> {
  return audit(database)
    .find({ tenantId, type: { $in: [...types] }, seq: { $gt: after, $lte: upTo } })
    .sort({ seq: 1 })
    .limit(limit)
    .toArray();
}

/** What happened to one credential, or what one principal did, before a place in the log and not longer ago than `since`. */
export type Window = {
  tenantId: string;
  of: { credentialId: string } | { actorId: string };
  types: readonly string[];
  /** The entries' `seq` is below this. */
  before: number;
  since: Date;
};

/** The newest entries of a window, the newest first. */
export function listEntriesInWindow(
  database: HasDb,
  { tenantId, of, types, before, since }: Window,
  limit: number,
): Promise<ChainedEntry[]> {
  const owner = 'credentialId' in of ? { credentialId: of.credentialId } : { 'actor.id': of.actorId };
  return audit(database)
    .find({ tenantId, ...owner, type: { $in: [...types] }, seq: { $lt: before }, at: { $gte: since } })
    .sort({ seq: -1 })
    .limit(limit)
    .toArray();
}
