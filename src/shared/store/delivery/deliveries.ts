/** `deliveries`: how the telling of single entries stands. */
import { type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
import type { SeqPage } from '../base/page.ts';

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
  // The deliveries of a subscription in the order of the log; one to an entry.
  { key: { tenantId: 1, subscriptionId: 1, seq: 1 }, unique: true },
  // The deliveries that a subscription tries again.
  { key: { subscriptionId: 1, nextAttemptAt: 1 }, ...whenPresent('nextAttemptAt') },
  // MongoDB drops records of success by it.
  { key: { expireAt: 1 }, expireAfterSeconds: 0 },
];

const deliveries = ({ db }: HasDb) => db.collection<DeliveryDoc>('deliveries');

/** The deliveries of a subscription that are to be tried again, now or later: those that are due first come first. */
export function listRetries(
  database: HasDb,
  { tenantId, subscriptionId, limit }: { tenantId: string; subscriptionId: string; limit: number },
): Promise<DeliveryDoc[]> {
  return deliveries(database)
    .find({ tenantId, subscriptionId, nextAttemptAt: { $gt: new Date(0) } })
    .sort({ nextAttemptAt: 1 })
    .limit(limit)
    .toArray();
}

/** Writes deliveries as they stand now, new ones included, in one call. The id decides: it holds the subscription's. */
export async function saveDeliveries(database: HasDb, docs: DeliveryDoc[]): Promise<void> {
  if (docs.length === 0) return;
  const writes = docs.map(({ _id, tenantId, subscriptionId, seq, ...fields }) => {
    const $unset = {
      ...(fields.nextAttemptAt === undefined && { nextAttemptAt: '' as const }),
      ...(fields.expireAt === undefined && { expireAt: '' as const }),
    };
    const update = { $set: fields, $unset, $setOnInsert: { tenantId, subscriptionId, seq } };
    return { updateOne: { filter: { _id }, update, upsert: true } };
  });
  await deliveries(database).bulkWrite(writes, { ordered: false });
}

/** Deletes all deliveries of a subscription. */
export async function deleteDeliveries(
  database: HasDb,
  { tenantId, subscriptionId }: { tenantId: string; subscriptionId: string },
): Promise<void> {
  await deliveries(database).deleteMany({ tenantId, subscriptionId });
}

/** The deliveries of a subscription in the order of the log. `status` left out: all of them. */
export function listDeliveries(
  database: HasDb,
  page: SeqPage & { subscriptionId: string; status?: DeliveryStatus | undefined },
): Promise<DeliveryDoc[]> {
  const { tenantId, subscriptionId, after, limit, status } = page;
  return deliveries(database)
    .find({ tenantId, subscriptionId, seq: { $gt: after }, ...(status !== undefined && { status }) })
    .sort({ seq: 1 })
    .limit(limit)
    .toArray();
}
