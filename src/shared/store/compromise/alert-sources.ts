/** `alert_sources`: who may report leaks to a tenant. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { HasDb, Indexes } from '../base/collection.ts';
import { type IdPage, idAfter } from '../base/page.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** A party that may send alerts to a tenant, with the secret that its deliveries are signed with. */
export type AlertSourceDoc = {
  _id: string;
  tenantId: string;
  /** Name of the plug-in that reads what it sends. */
  source: string;
  name: string;
  /** Sealed, bound to this document, generation 1. */
  secret: StoredSecret;
  createdAt: Date;
  revokedAt: Date | null;
};

// The list of a tenant's sources.
export const INDEXES: Indexes = [{ key: { tenantId: 1, _id: 1 } }];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<AlertSourceDoc> = { secret: (doc) => at('secret', doc.secret, doc._id) };

const alertSources = ({ db }: HasDb) => db.collection<AlertSourceDoc>('alert_sources');

/** Ends every source of a tenant that is not revoked yet. */
export async function revokeAlertSources(
  database: HasDb,
  { tenantId, at: revokedAt }: { tenantId: string; at: Date },
): Promise<void> {
  await alertSources(database).updateMany({ tenantId, revokedAt: null }, { $set: { revokedAt } });
}

/** One alert source, also when it is revoked; null where the tenant has none of that id. */
export function findAlertSource(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<AlertSourceDoc | null> {
  return alertSources(database).findOne({ _id: id, tenantId });
}

/** The alert source of an address, also when it is revoked. Without a tenant: the address is what names it. */
export function findAlertSourceById(database: HasDb, id: string): Promise<AlertSourceDoc | null> {
  return alertSources(database).findOne({ _id: id });
}

/** A tenant's alert sources, oldest first, the revoked ones too. */
export function listAlertSources(database: HasDb, { tenantId, after, limit }: IdPage): Promise<AlertSourceDoc[]> {
  return alertSources(database)
    .find({ tenantId, ...idAfter(after) })
    .sort({ _id: 1 })
    .limit(limit)
    .toArray();
}
