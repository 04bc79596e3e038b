/** `credentials`: what rotations of keys, and their destruction, ask and write. */
import type { HasDb } from '../base/collection.ts';
import { FREE, fingerprintsUnder } from '../base/document.ts';
import type { CredentialDoc } from './credentials.ts';

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

/**
 * Gives credentials new fingerprints, each as it was read and held by nobody: a worker that took a lease meanwhile may write a
 * new generation, with fingerprints that it read before. Resolves to how many were written.
 */
export async function replaceFingerprints(
  database: HasDb,
  changes: { read: CredentialDoc; fingerprints: string[] }[],
): Promise<number> {
  if (changes.length === 0) return 0;
  const writes = changes.map(({ read: { _id, tenantId, fence, generation, lease }, fingerprints }) => ({
    updateOne: {
      filter: { _id, tenantId, fence, generation, ...FREE },
      // A holder whose lease lapsed may still write: its fence ends.
      update: { $set: { fingerprints }, ...(lease !== null && { $inc: { fence: 1 } }) },
    },
  }));
  return (await credentials(database).bulkWrite(writes, { ordered: false })).modifiedCount;
}

/** Whether a credential of the tenant has a fingerprint under that version of its key. */
export async function hasCredentialFingerprint(
  database: HasDb,
  { tenantId, version }: { tenantId: string; version: number },
): Promise<boolean> {
  const where = { tenantId, fingerprints: fingerprintsUnder(version) };
  return (await credentials(database).findOne(where, { projection: { _id: 1 } })) !== null;
}

/** Nothing is due any more for the credentials of a tenant, not even what a worker was given. */
export async function clearCredentialDueDates(database: HasDb, tenantId: string): Promise<void> {
  await credentials(database).updateMany({ tenantId }, { $set: { due: {}, claimed: {} } });
}
