/** `principals`: who calls, and what each may do. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Indexes } from '../base/collection.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

export type PrincipalDoc = {
  _id: string;
  tenantId: string;
  name: string;
  /** SHA-256 of the key in hex; the key has 256 bits of entropy, so no slow hash is needed. */
  keyHash: string;
  /** `service:action`, each part may be `*`. */
  permissions: string[];
  /** Sealed signing secret (Standard Webhooks `whsec_…`) when requests must be signed. */
  signing: StoredSecret | null;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
};

export const INDEXES: Indexes = [
  // Whose key this is: every request.
  { key: { keyHash: 1 }, unique: true },
  // The list of a tenant's principals.
  { key: { tenantId: 1, _id: 1 } },
];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<PrincipalDoc> = { signing: (doc) => at('signing', doc.signing, doc._id) };
