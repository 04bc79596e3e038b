/** `tenants`: the owners of everything else. A tenant's `tenantId` is its own id. */

export type TenantDoc = { _id: string; tenantId: string; name: string; createdAt: Date; shreddedAt: Date | null };

/** What belongs to no tenant is kept under this id. */
export const SYSTEM_TENANT_ID = 'system';
