/** What documents of several collections have in common. */

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

export type Origin = { ip: string | null; userAgent: string | null };
