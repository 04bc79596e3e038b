/** `revocation_budgets`: what one alert has caused to be revoked by itself. */
import type { Indexes } from '../base/collection.ts';

/** Which incidents one alert may revoke for by itself. `_id`: `<tenantId>/<alert id>`. */
export type RevocationBudgetDoc = { _id: string; tenantId: string; incidentIds: string[]; expiresAt: Date };

export const INDEXES: Indexes = [{ key: { expiresAt: 1 }, expireAfterSeconds: 0 }];
