/** `authorizations`: consents under way, by the hash of their state. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { HasDb, Indexes } from '../base/collection.ts';
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

// Removed an hour after its end: until then an answer that comes late is told why.
export const INDEXES: Indexes = [{ key: { expiresAt: 1 }, expireAfterSeconds: 3600 }];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<AuthorizationDoc> = {
  codeVerifier: (doc) => at('codeVerifier', doc.codeVerifier, doc._id),
};

const authorizations = ({ db }: HasDb) => db.collection<AuthorizationDoc>('authorizations');

/** The authorization of a state, by its hash. Without a tenant: the state is what names it. */
export function findAuthorizationByStateHash(database: HasDb, stateHash: string): Promise<AuthorizationDoc | null> {
  return authorizations(database).findOne({ _id: stateHash });
}

/** Ties an authorization to a browser, once. Resolves to whether it was this call that did it. */
export async function bindAuthorization(
  database: HasDb,
  { _id, tenantId }: Pick<AuthorizationDoc, '_id' | 'tenantId'>,
  browserHash: string,
): Promise<boolean> {
  const bound = await authorizations(database).updateOne(
    { _id, tenantId, browserHash: null },
    { $set: { browserHash } },
  );
  return bound.matchedCount === 1;
}
