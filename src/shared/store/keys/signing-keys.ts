/** `signing_keys`: our own key pairs. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Indexes } from '../base/collection.ts';
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

export const INDEXES: Indexes = [{ key: { use: 1 }, unique: true, partialFilterExpression: { state: 'active' } }];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<SigningKeyDoc> = { sealed: (doc) => at('sealed', doc.sealed, doc._id) };
