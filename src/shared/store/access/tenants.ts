/** `tenants`: the owners of everything else. A tenant's `tenantId` is its own id. */
import type { HasDb } from '../base/collection.ts';

/** `shreddedAt`: since when its data keys are destroyed; the document stays. */
export type TenantDoc = { _id: string; tenantId: string; name: string; createdAt: Date; shreddedAt: Date | null };

/** What belongs to no tenant is kept under this id. */
export const SYSTEM_TENANT_ID = 'system';

const tenants = ({ db }: HasDb) => db.collection<TenantDoc>('tenants');

/** One tenant, also when it is shredded; null where there is none. */
export function findTenant(database: HasDb, tenantId: string): Promise<TenantDoc | null> {
  return tenants(database).findOne({ _id: tenantId, tenantId });
}

/**
 * Ids of tenants that are not shredded, in order, at most `limit` of them. `after`: the last id of the page before; the
 * empty string for the first page.
 */
export async function listTenantIds(
  database: HasDb,
  { after, limit }: { after: string; limit: number },
): Promise<string[]> {
  const docs = await tenants(database)
    .find({ _id: { $gt: after }, shreddedAt: null }, { projection: { _id: 1 } })
    .sort({ _id: 1 })
    .limit(limit)
    .toArray();
  return docs.map((doc) => doc._id);
}
