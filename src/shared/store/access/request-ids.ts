/** `request_ids`: signed requests that were taken, so that none is taken twice. */
import type { Indexes } from '../base/collection.ts';

/** The id of a signed request that was taken. `_id`: `<principal>/<webhook-id>`. It is kept for as long as its time is good. */
export type RequestIdDoc = { _id: string; tenantId: string; expiresAt: Date };

export const INDEXES: Indexes = [{ key: { expiresAt: 1 }, expireAfterSeconds: 0 }];
