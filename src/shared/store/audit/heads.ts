/** `audit_heads`: where the chain of each tenant ends, and what is due about it. */
import { type Indexes, whenPresent } from '../base/collection.ts';

export type ChainHead = {
  _id: string;
  tenantId: string;
  seq: number;
  hash: string;
  updatedAt: Date;
  /** When something is to be done about it next: subscribers told, a checkpoint signed. Absent: nothing. */
  dueAt?: Date;
  /** Subscriptions know of the entries up to here. */
  toldSeq?: number;
  /** Since when there are entries that no checkpoint covers. Absent: there are none. */
  unsignedSince?: Date;
  /** When the rules are to look at what was chained; absent once they have. */
  detectAt?: Date;
};

export const INDEXES: Indexes = [
  // Subscribers to be told, checkpoints to be signed.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
  // Entries that the rules have not seen.
  { key: { detectAt: 1 }, ...whenPresent('detectAt') },
];
