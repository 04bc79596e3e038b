/** `audit_inbox`: entries that committed with their change and wait for their place in the chain. */
import type { ClientSession } from 'mongodb';
import type { HasDb, Indexes } from '../base/collection.ts';
import type { Origin } from '../base/document.ts';

export type ActorKind = 'principal' | 'worker' | 'subject' | 'system';

/** One record of the audit log, as committed with the change it tells of. */
export type Entry = {
  _id: string;
  tenantId: string;
  at: Date;
  /** Past tense: `credential.refreshed`. */
  type: string;
  actor: { kind: ActorKind; id: string } & Partial<Origin>;
  outcome: 'success' | 'failure' | 'denied';
  credentialId: string | null;
  service: string | null;
  subject: string | null;
  eventId: string | null;
  incidentId: string | null;
  /** Stable code of what went wrong, or of why. */
  reason: string | null;
  detail: Record<string, string | number | boolean | null>;
};

// The oldest of a tenant, which are chained next: ids grow with time.
export const INDEXES: Indexes = [{ key: { tenantId: 1, _id: 1 } }];

const inbox = ({ db }: HasDb) => db.collection<Entry>('audit_inbox');

/** Entries of a tenant that wait for their place in the chain, oldest first. */
export function listInbox(database: HasDb, { tenantId, limit }: { tenantId: string; limit: number }): Promise<Entry[]> {
  return inbox(database).find({ tenantId }).sort({ _id: 1 }).limit(limit).toArray();
}

/** Tenants with entries that wait for their place in the chain. */
export function listTenantsInInbox(database: HasDb): Promise<string[]> {
  return inbox(database).distinct('tenantId');
}

/** Whether an entry waits. Without a tenant: the id is the caller's own. */
export async function isInInbox(database: HasDb, id: string): Promise<boolean> {
  return (await inbox(database).findOne({ _id: id }, { projection: { _id: 1 } })) !== null;
}

/**
 * Adds entries: in the transaction of the change that they tell of, or alone where they tell of none, e.g. of a release. Throws
 * when one is there already; alone, the others are in all the same.
 */
export async function addToInbox(database: HasDb, entries: Entry[], session?: ClientSession): Promise<void> {
  if (entries.length > 0) await inbox(database).insertMany(entries, session ? { session } : { ordered: false });
}

/** Removes entries by their ids, which are unique over all tenants; resolves to how many were there. */
export async function removeFromInbox(database: HasDb, ids: string[], session?: ClientSession): Promise<number> {
  const removed = await inbox(database).deleteMany({ _id: { $in: ids } }, session && { session });
  return removed.deletedCount;
}
