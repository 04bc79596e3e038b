/** `revocation_budgets`: what one alert has caused to be revoked by itself. */
import type { HasDb, Indexes } from '../base/collection.ts';

/** Which incidents one alert may revoke for by itself. `_id`: `<tenantId>/<alert id>`. */
export type RevocationBudgetDoc = { _id: string; tenantId: string; incidentIds: string[]; expiresAt: Date };

// MongoDB drops by it the budgets of alerts that are over.
export const INDEXES: Indexes = [{ key: { expiresAt: 1 }, expireAfterSeconds: 0 }];

const budgets = ({ db }: HasDb) => db.collection<RevocationBudgetDoc>('revocation_budgets');

/**
 * Whether an incident is among the first `most` that one alert revokes for; it is counted with that. Asked again, the answer is
 * the same.
 */
export async function takeRevocation(
  database: HasDb,
  { tenantId, cause, incidentId }: { tenantId: string; cause: string; incidentId: string },
  { most, expiresAt }: { most: number; expiresAt: Date },
): Promise<boolean> {
  const _id = `${tenantId}/${cause}`;
  await budgets(database).updateOne(
    { _id },
    { $setOnInsert: { tenantId, incidentIds: [], expiresAt } },
    { upsert: true },
  );
  const isNotFull = { [`incidentIds.${most - 1}`]: { $exists: false } };
  const taken = await budgets(database).updateOne(
    { _id, tenantId, ...isNotFull },
    { $addToSet: { incidentIds: incidentId } },
  );
  return (
    taken.matchedCount === 1 ||
    (await budgets(database).countDocuments({ _id, tenantId, incidentIds: incidentId })) === 1
  );
}
