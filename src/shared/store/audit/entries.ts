/** `audit`: the chained log. Insert only. */

import type { Indexes } from '../base/collection.ts';
import type { Entry } from './inbox.ts';

/** An entry in its place in the chain: inserted once, never updated. */
export type ChainedEntry = Entry & {
  seq: number;
  /** Hash of the entry before, hex; 64 zeros for the first. */
  prev: string;
  /** SHA-256(prev ‖ JCS(entry with seq)), hex (RFC 8785). */
  hash: string;
  /** HMAC of the hash under the tenant's entry key: who rewrites the whole chain in MongoDB lacks the key. */
  mac: string;
};

export const INDEXES: Indexes = [
  { key: { tenantId: 1, seq: 1 }, unique: true },
  { key: { tenantId: 1, credentialId: 1, seq: 1 } },
  { key: { tenantId: 1, type: 1, seq: 1 } },
  // What one principal did: rules and `GET /v1/audit?principal=` ask for it.
  { key: { tenantId: 1, 'actor.id': 1, seq: 1 } },
];
