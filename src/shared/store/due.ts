/**
 * Claims on what is due. A claim moves the date ahead, so that any number of sweepers share the work. A claim that nobody
 * settles ends with its time: the date comes round again.
 */
import type { Document } from 'mongodb';
import type { HasDb } from './base/collection.ts';
import type { DueDate } from './base/due-date.ts';

/** What is known of a claimed document: its id, and the fields that its due date reads. */
export type DueDoc<Read extends string> = { _id: string } & Record<Read, string>;

/** A claim lasts this long, and up to twice as long, so that what was lost at once does not come back at once. */
const CLAIM_MS = 30_000;

/**
 * Claims up to `limit` documents whose date has come at `now`, the longest due first, in two calls. Two sweepers never claim
 * the same one. `isLast`: no more were due. `fraction`, in [0, 1), is the claim's jitter. Of all tenants: the sweep is the
 * system's own.
 */
export async function claimDue<Read extends string>(
  { db }: HasDb,
  date: DueDate<Read>,
  { now, fraction, limit }: { now: Date; fraction: number; limit: number },
): Promise<{ docs: DueDoc<Read>[]; isLast: boolean }> {
  const collection = db.collection<{ _id: string } & Document>(date.in);
  const projection = Object.fromEntries(['_id', ...date.read].map((field) => [field, 1]));
  const isDue = { [date.field]: { $lte: now } };
  const found = await collection
    .find<DueDoc<Read>>(isDue, { projection })
    .sort({ [date.field]: 1 })
    .limit(limit)
    .toArray();
  const isLast = found.length < limit;
  if (found.length === 0) return { docs: [], isLast };
  const ids = found.map((doc) => doc._id);
  // What this sweeper claims is found again by the very date that it sets.
  const until = new Date(now.getTime() + CLAIM_MS + Math.floor(fraction * CLAIM_MS));
  const claim = date.claim && { [date.claim]: { $ifNull: [`$${date.claim}`, `$${date.field}`] } };
  const set = { [date.field]: until, ...claim };
  const claimed = await collection.updateMany({ _id: { $in: ids }, ...isDue }, [{ $set: set }]);
  if (claimed.modifiedCount === found.length) return { docs: found, isLast };
  // Another sweeper was faster with some of them.
  const ours = { _id: { $in: ids }, [date.field]: until };
  return { docs: await collection.find<DueDoc<Read>>(ours, { projection }).toArray(), isLast };
}

/**
 * What was claimed, and may have been lost with its jobs, is due again at `now` instead of at the end of its claim. Claims of
 * other sweepers end too: a job that comes twice finds nothing to do.
 */
export async function giveUpClaims({ db }: HasDb, date: DueDate<string>, now: Date): Promise<void> {
  if (!date.isClaimed) return;
  const latest = new Date(now.getTime() + 2 * CLAIM_MS);
  const where = { [date.field]: { $gt: now, $lte: latest }, ...date.isClaimed };
  await db.collection(date.in).updateMany(where, { $set: { [date.field]: now } });
}
