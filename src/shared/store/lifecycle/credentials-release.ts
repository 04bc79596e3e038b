/** `credentials`: the reads and writes of the release of tokens, for many callers in one call. */
import type { HasDb } from '../base/collection.ts';
import type { CredentialDoc } from './credentials.ts';

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

const FIELDS = [
  '_id',
  'tenantId',
  'service',
  'subject',
  'kind',
  'state',
  'generation',
  'secret',
  'scopes',
  'tokenType',
  'metadata',
  'expiresAt',
  'hasRefreshToken',
  'due',
  'claimed',
  'lastError',
  'blocked',
  'secretChangedAt',
  'lastReleasedAt',
] as const satisfies (keyof CredentialDoc)[];

const PROJECTION = Object.fromEntries(FIELDS.map((field) => [field, 1]));

/** The part of a credential that a release needs. */
export type Releasable = Pick<CredentialDoc, (typeof FIELDS)[number]>;

/** A group of credentials, which may be of several tenants. */
export type CredentialGroup = { ids: string[]; tenantIds: string[] };

/** A group, fresh. The caller still compares the tenant of each: a member may see its own only (promise 10). */
export function findReleasable(database: HasDb, { ids, tenantIds }: CredentialGroup): Promise<Releasable[]> {
  const where = { _id: { $in: ids }, tenantId: { $in: tenantIds } };
  return credentials(database)
    .find<Releasable>(where, { projection: PROJECTION, hint: { _id: 1 } })
    .toArray();
}

/** Notes when a group was last released. */
export async function touchReleased(
  database: HasDb,
  { ids, tenantIds }: CredentialGroup,
  lastReleasedAt: Date,
): Promise<void> {
  const where = { _id: { $in: ids }, tenantId: { $in: tenantIds } };
  await credentials(database).updateMany(where, { $set: { lastReleasedAt } });
}
