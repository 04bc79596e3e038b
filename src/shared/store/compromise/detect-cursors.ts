/** `detect_cursors`: how far the rules have read. */
import { isDuplicateKey } from '../../platform/driver-errors.ts';
import type { HasDb } from '../base/collection.ts';

/** How far the rules have read a tenant's log. `_id` is the tenant's. */
export type DetectCursorDoc = { _id: string; tenantId: string; seq: number };

const cursors = ({ db }: HasDb) => db.collection<DetectCursorDoc>('detect_cursors');

/** The `seq` of the last entry that the rules have seen; 0 before the first. */
export async function findDetectCursor(database: HasDb, tenantId: string): Promise<number> {
  const doc = await cursors(database).findOne({ _id: tenantId, tenantId });
  return doc?.seq ?? 0;
}

/** Moves the cursor from where it was read. Resolves to false, and changes nothing, when another worker has moved it. */
export async function moveDetectCursor(
  database: HasDb,
  { tenantId, from, to }: { tenantId: string; from: number; to: number },
): Promise<boolean> {
  try {
    if (from === 0) {
      await cursors(database).insertOne({ _id: tenantId, tenantId, seq: to });
      return true;
    }
    const { matchedCount } = await cursors(database).updateOne(
      { _id: tenantId, tenantId, seq: from },
      { $set: { seq: to } },
    );
    return matchedCount === 1;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}
