/** `request_ids`: signed requests that were taken, so that none is taken twice. */
import { isDuplicateKey } from '../../platform/driver-errors.ts';
import type { HasDb, Indexes } from '../base/collection.ts';

/** The id of a signed request that was taken. `_id`: `<principal>/<webhook-id>`. It is kept for as long as its time is good. */
export type RequestIdDoc = { _id: string; tenantId: string; expiresAt: Date };

// MongoDB drops by it what is too old to be taken anyway.
export const INDEXES: Indexes = [{ key: { expiresAt: 1 }, expireAfterSeconds: 0 }];

/** Takes a signed request, by an insert that succeeds once. False: some process has taken one with this id already. */
export async function takeRequestId(
  { db }: HasDb,
  request: { tenantId: string; principalId: string; webhookId: string; expiresAt: Date },
): Promise<boolean> {
  const { tenantId, principalId, webhookId, expiresAt } = request;
  try {
    await db
      .collection<RequestIdDoc>('request_ids')
      .insertOne({ _id: `${principalId}/${webhookId}`, tenantId, expiresAt });
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}
