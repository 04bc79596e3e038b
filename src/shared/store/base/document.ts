/** Types and conditions that several collections have in common. */

/**
 * The right of one worker to act on one object. `until` is set and compared by the server's clock (`$$NOW`), so that
 * skew between processes does not matter. `fence` grows with every lease; a write names it, so a stale worker's fails.
 */
export type Lease = { holder: string; purpose: string; until: Date };

export type Leased = {
  fence: number;
  lease: Lease | null;
  /** The lease that was taken over because its holder did not come back; null when the last one ended well. */
  interrupted: Lease | null;
};

/** A query for what nobody holds, or what its holder did not come back to in time; by the server's clock. */
export const FREE = { $or: [{ lease: null }, { $expr: { $lt: ['$lease.until', '$$NOW'] } }] };

export type Origin = { ip: string | null; userAgent: string | null };

/** A keyed fingerprint was found on this credential, or on a case about it. `fingerprints` are all that the document has. */
export type Fingerprinted = { tenantId: string; credentialId: string; fingerprints: string[] };

/** Matches the keyed fingerprints that were made under a version of the tenant's fingerprint key. */
export function fingerprintsUnder(version: number): RegExp {
  return new RegExp(`^v${version}\\.`);
}
