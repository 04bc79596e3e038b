/** `signing_keys`: our own key pairs. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import { SYSTEM_TENANT_ID } from '../access/tenants.ts';
import type { HasDb, Indexes } from '../base/collection.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** `intake`: others encrypt to it. */
export type SigningUse = 'checkpoint' | 'set' | 'intake';

/** A key pair of ours. The private half is sealed; the public half is published until the document is deleted. */
export type SigningKeyDoc = {
  /** The key id in the JWKS: its RFC 7638 thumbprint. */
  _id: string;
  tenantId: string;
  use: SigningUse;
  alg: 'Ed25519' | 'RS256' | 'ECDH-ES+A256KW';
  publicJwk: Record<string, string>;
  /** The private JWK as JSON. */
  sealed: StoredSecret;
  /** One key of a use signs; those it replaced are `published` only. */
  state: 'active' | 'published';
  createdAt: Date;
};

// One key of a use signs.
export const INDEXES: Indexes = [{ key: { use: 1 }, unique: true, partialFilterExpression: { state: 'active' } }];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<SigningKeyDoc> = { sealed: (doc) => at('sealed', doc.sealed, doc._id) };

const signingKeys = ({ db }: HasDb) => db.collection<SigningKeyDoc>('signing_keys');

/** The key of that id and use, also when it was replaced; null when there is none. */
export function findSigningKey(
  database: HasDb,
  { id, use }: { id: string; use: SigningUse },
): Promise<SigningKeyDoc | null> {
  return signingKeys(database).findOne({ _id: id, tenantId: SYSTEM_TENANT_ID, use });
}

/** The key of a use that signs now; null before the first is made. */
export function findActiveSigningKey(database: HasDb, use: SigningUse): Promise<SigningKeyDoc | null> {
  return signingKeys(database).findOne({ tenantId: SYSTEM_TENANT_ID, use, state: 'active' });
}

/** All keys, newest first. */
export function listSigningKeys(database: HasDb): Promise<SigningKeyDoc[]> {
  return signingKeys(database).find({ tenantId: SYSTEM_TENANT_ID }).sort({ createdAt: -1 }).toArray();
}
