/** `credentials`: what may be shown of them. These reads ask the server for no secret, no sealed value and no fingerprint. */
import type { HasDb } from '../base/collection.ts';
import { type IdPage, idAfter } from '../base/page.ts';
import type { CredentialDoc, CredentialState } from './credentials.ts';
import { DUE_KINDS, duePath } from './credentials-due.ts';

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

/** A credential without what is secret, or would help to find a secret. */
export type CredentialMetadata = Omit<CredentialDoc, 'secret' | 'fingerprints'>;

const NO_SECRETS = { secret: 0, fingerprints: 0, 'rotation.pending': 0, 'rotation.previous': 0 };

/** The metadata of one credential; null where the tenant has none of that id. */
export function findCredentialMetadata(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<CredentialMetadata | null> {
  return credentials(database).findOne({ _id: id, tenantId }, { projection: NO_SECRETS });
}

/** What a list of credentials is narrowed to; what is left out narrows nothing. */
export type CredentialFilter = {
  /** Null: of all services. */
  services: string[] | null;
  subject?: string | undefined;
  state?: CredentialState | undefined;
  /** Something is due by then. */
  dueBefore?: Date | undefined;
};

/** The metadata of a tenant's credentials, oldest first. */
export function listCredentialMetadata(
  database: HasDb,
  { tenantId, after, limit, services, subject, state, dueBefore }: IdPage & CredentialFilter,
): Promise<CredentialMetadata[]> {
  const where = {
    tenantId,
    ...(services && { service: { $in: services } }),
    ...(subject !== undefined && { subject }),
    ...(state !== undefined && { state }),
    ...(dueBefore && { $or: DUE_KINDS.map((kind) => ({ [duePath(kind)]: { $lte: dueBefore } })) }),
    ...idAfter(after),
  };
  return credentials(database).find(where, { projection: NO_SECRETS }).sort({ _id: 1 }).limit(limit).toArray();
}
