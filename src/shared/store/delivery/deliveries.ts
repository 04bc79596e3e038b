/** `deliveries`: how the telling of single entries stands. */
import { type Indexes, whenPresent } from '../base/collection.ts';

export type DeliveryStatus = 'delivered' | 'retrying' | 'parked';

/** How the telling of one entry to one subscription stands. */
export type DeliveryDoc = {
  _id: string;
  tenantId: string;
  subscriptionId: string;
  seq: number;
  entryId: string;
  type: string;
  status: DeliveryStatus;
  attempts: number;
  lastError: { reason: string; status: number | null } | null;
  firstAttemptAt: Date;
  lastAttemptAt: Date;
  /** Absent unless `retrying`. */
  nextAttemptAt?: Date;
  /** When the record of a success is dropped; what was not delivered has none and stays. */
  expireAt?: Date;
};

export const INDEXES: Indexes = [
  { key: { tenantId: 1, subscriptionId: 1, seq: 1 }, unique: true },
  // What a subscription has to tell again.
  { key: { subscriptionId: 1, nextAttemptAt: 1 }, ...whenPresent('nextAttemptAt') },
  { key: { expireAt: 1 }, expireAfterSeconds: 0 },
];
