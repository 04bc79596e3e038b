/** `audit`: the chained log. Insert only. */
import type { ClientSession, Filter, FindCursor } from 'mongodb';
import type { HasDb, Indexes } from '../base/collection.ts';
import type { SeqPage } from '../base/page.ts';
import type { Entry } from './inbox.ts';

/** An entry in its place in the chain: inserted once, never updated. */
export type ChainedEntry = Entry & {
  seq: number;
  /** Hash of the entry before, hex; 64 zeros for the first. */
  prev: string;
  /** SHA-256(prev ‖ JCS(entry with seq)), hex (RFC 8785). */
  hash: string;
  /** HMAC of the hash under the tenant's entry key: who rewrites the whole chain in MongoDB lacks the key. */
  mac: string;
};

export const INDEXES: Indexes = [
  // The log in its order; one entry to a place.
  { key: { tenantId: 1, seq: 1 }, unique: true },
  // The entries about one credential.
  { key: { tenantId: 1, credentialId: 1, seq: 1 } },
  // Entries of certain types: rules and subscriptions ask for them.
  { key: { tenantId: 1, type: 1, seq: 1 } },
  // The entries of one principal's acts: rules and `GET /v1/audit?principal=` ask for it.
  { key: { tenantId: 1, 'actor.id': 1, seq: 1 } },
];

const audit = ({ db }: HasDb) => db.collection<ChainedEntry>('audit');

/** Inserts the next links of a chain. Throws a duplicate key when one is there, or its place is taken. */
export async function insertLinks(database: HasDb, links: ChainedEntry[], session: ClientSession): Promise<void> {
  await audit(database).insertMany(links, { session });
}

/** Those of `ids` that are in the chain. Without a tenant: ids are unique over all of them. */
export async function listChainedIds(database: HasDb, ids: string[]): Promise<string[]> {
  const chained = await audit(database)
    .find({ _id: { $in: ids } }, { projection: { _id: 1 } })
    .toArray();
  return chained.map((entry) => entry._id);
}

/** Tenants that have entries in the chain. */
export function listTenantsInLog(database: HasDb): Promise<string[]> {
  return audit(database).distinct('tenantId');
}

/**
 * The log of a tenant in its order, as it comes from the server. `upTo`: the last `seq`, absent: all. `batchSize`: entries of one
 * round trip, absent: the driver's choice.
 */
export function walkLog(
  database: HasDb,
  { tenantId, upTo, batchSize }: { tenantId: string; upTo?: number; batchSize?: number },
): FindCursor<ChainedEntry> {
  const found = audit(database)
    .find({ tenantId, ...(upTo !== undefined && { seq: { $lte: upTo } }) })
    .sort({ seq: 1 });
  return batchSize === undefined ? found : found.batchSize(batchSize);
}

/** The entries in these places of a tenant's log, in no order. */
export function listEntriesAt(
  database: HasDb,
  { tenantId, seqs }: { tenantId: string; seqs: number[] },
): Promise<ChainedEntry[]> {
  return audit(database)
    .find({ tenantId, seq: { $in: seqs } })
    .toArray();
}

/** Which entries a subscriber wants. Lists that are empty filter nothing out; `*` in a type stands for any characters. */
export type WantedEntries = {
  tenantId: string;
  /** The last `seq` that it was told. */
  after: number;
  /** An entry's type is in each of these lists. */
  types: string[][];
  services: string[];
  outcomes: Entry['outcome'][];
};

/** The next entries that a subscriber wants, in the order of the log. */
export function listWantedEntries(
  database: HasDb,
  { tenantId, after, types, services, outcomes }: WantedEntries,
  limit: number,
): Promise<ChainedEntry[]> {
  const lists = types.filter((patterns) => patterns.length > 0 && !patterns.includes('*'));
  const wanted: Filter<ChainedEntry> = {
    tenantId,
    seq: { $gt: after },
    ...(services.length > 0 && { service: { $in: services } }),
    ...(outcomes.length > 0 && { outcome: { $in: outcomes } }),
    ...(lists.length > 0 && { $and: lists.map((patterns) => ({ type: { $in: patterns.map(typeRegExp) } })) }),
  };
  return audit(database).find(wanted).sort({ seq: 1 }).limit(limit).toArray();
}

/** `*` stands for any characters; all others for themselves. */
function typeRegExp(pattern: string): RegExp {
  const escaped = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`);
}

/** What a list of entries is narrowed to; what is left out narrows nothing. `since`: entries of that time and later. */
export type EntryFilter = {
  type?: string | undefined;
  credentialId?: string | undefined;
  actorId?: string | undefined;
  since?: Date | undefined;
};

/** A tenant's entries in the order of the log. */
export function listEntries(
  database: HasDb,
  { tenantId, after, limit, type, credentialId, actorId, since }: SeqPage & EntryFilter,
): Promise<ChainedEntry[]> {
  const where: Filter<ChainedEntry> = {
    tenantId,
    seq: { $gt: after },
    ...(type !== undefined && { type }),
    ...(credentialId !== undefined && { credentialId }),
    ...(actorId !== undefined && { 'actor.id': actorId }),
    ...(since !== undefined && { at: { $gte: since } }),
  };
  return audit(database).find(where).sort({ seq: 1 }).limit(limit).toArray();
}
