/** `credentials`: whose and what it is, without reading the whole document. */
import type { HasDb } from '../base/collection.ts';
import type { Fingerprinted } from '../base/document.ts';
import type { CredentialDoc } from './credentials.ts';

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

/** Whose a credential is, and where. */
export type CredentialOwner = Pick<CredentialDoc, '_id' | 'tenantId' | 'service' | 'subject'>;

/** Whose credential it is and at which service; null where the tenant has none of that id. */
export function findCredentialOwner(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<CredentialOwner | null> {
  const projection = { tenantId: 1, service: 1, subject: 1 };
  return credentials(database).findOne<CredentialOwner>({ _id: id, tenantId }, { projection });
}

/** The service of each of these credentials, by id, in one read. An id that the tenant does not have is left out. */
export async function findServicesOf(
  database: HasDb,
  { tenantId, ids }: { tenantId: string; ids: string[] },
): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const found = await credentials(database)
    .find({ tenantId, _id: { $in: ids } }, { projection: { service: 1 } })
    .toArray();
  return new Map(found.map((doc) => [doc._id, doc.service]));
}

/** The credentials that these keyed fingerprints are on, by index. A fingerprint counts only in the tenant whose key made it. */
export async function findCredentialsByFingerprint(
  database: HasDb,
  { tenantIds, fingerprints }: { tenantIds: string[]; fingerprints: string[] },
): Promise<Fingerprinted[]> {
  const where = { fingerprints: { $in: fingerprints }, tenantId: { $in: tenantIds } };
  const projection = { tenantId: 1, fingerprints: 1 };
  const found = await credentials(database).find(where, { projection }).toArray();
  return found.map((doc) => ({ tenantId: doc.tenantId, credentialId: doc._id, fingerprints: doc.fingerprints }));
}

/** The tenants that have credentials, in order. Across tenants: for the operator. */
export async function listTenantsWithCredentials(database: HasDb): Promise<string[]> {
  const tenantIds = await credentials(database).distinct('tenantId');
  return tenantIds.sort();
}
