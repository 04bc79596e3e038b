/** `authorizations`: consents under way, by the hash of their state. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Indexes } from '../base/collection.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

export type AuthorizationDoc = {
  /** SHA-256 of the state, base64url: the state itself is a bearer value. */
  _id: string;
  tenantId: string;
  principalId: string;
  service: string;
  subject: string;
  scopes: string[];
  resource: string | null;
  /** Where the person is sent back to in the app; null shows our own page. */
  returnTo: string | null;
  codeVerifier: StoredSecret;
  /** SHA-256 of the cookie that ties the flow to one browser; set when the browser first passes our start page. */
  browserHash: string | null;
  usedAt: Date | null;
  eventId: string | null;
  createdAt: Date;
  expiresAt: Date;
};

export const INDEXES: Indexes = [{ key: { expiresAt: 1 }, expireAfterSeconds: 3600 }];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<AuthorizationDoc> = {
  codeVerifier: (doc) => at('codeVerifier', doc.codeVerifier, doc._id),
};
