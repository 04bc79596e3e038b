/** `principals`: who calls, and what each may do. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { HasDb, Indexes } from '../base/collection.ts';
import { type IdPage, idAfter } from '../base/page.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** An API key and what it may do. One that comes by JWT has this shape too, and is not stored. */
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

const principals = ({ db }: HasDb) => db.collection<PrincipalDoc>('principals');

/**
 * The principal of that id, also when it is revoked or expired. Without a tenant: the caller knows only the id, and the
 * principal tells whose it is.
 */
export function findPrincipalById(database: HasDb, id: string): Promise<PrincipalDoc | null> {
  return principals(database).findOne({ _id: id });
}

/** Ends every API key of a tenant that is not revoked yet. */
export async function revokePrincipals(
  database: HasDb,
  { tenantId, at }: { tenantId: string; at: Date },
): Promise<void> {
  await principals(database).updateMany({ tenantId, revokedAt: null }, { $set: { revokedAt: at } });
}

/** One principal, also when it is revoked or expired; null where the tenant has none of that id. */
export function findPrincipal(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<PrincipalDoc | null> {
  return principals(database).findOne({ _id: id, tenantId });
}

/** The principals of these keys, in one read, by the hash of the key. Without a tenant: the key is what names it. */
export async function findPrincipalsByKeyHash(
  database: HasDb,
  keyHashes: string[],
): Promise<Map<string, PrincipalDoc>> {
  const found = await principals(database)
    .find({ keyHash: { $in: keyHashes } })
    .toArray();
  return new Map(found.map((doc) => [doc.keyHash, doc]));
}

/** A tenant's principals, oldest first. */
export function listPrincipals(database: HasDb, { tenantId, after, limit }: IdPage): Promise<PrincipalDoc[]> {
  return principals(database)
    .find({ tenantId, ...idAfter(after) })
    .sort({ _id: 1 })
    .limit(limit)
    .toArray();
}
