/**
 * One actor per credential (promise 3). A lease is taken for many objects in two calls; the holder's name is unique to
 * the call, so what was taken is found by it. Times are the server's (`$$NOW`): skew between processes does not matter.
 */
import type { Document } from 'mongodb';
import { FREE, type Leased } from './base/document.ts';
import type { Database, Documents } from './database.ts';

export type LeasedCollection = { [N in keyof Documents]: Documents[N] extends Leased ? N : never }[keyof Documents];

export type LeaseRequest = {
  ids: string[];
  /** Unique to this call. */
  holder: string;
  purpose: string;
  leaseMs: number;
  /** Conditions beside the lease, e.g. `{state: 'active'}`. */
  where?: Document;
};

/**
 * An interrupted refresh stays on the record until someone has settled it: a later holder with another purpose that is
 * interrupted too must not hide that the refresh token may be spent.
 */
const INTERRUPTED = {
  $cond: [{ $or: [{ $eq: ['$lease', null] }, { $eq: ['$interrupted.purpose', 'refresh'] }] }, '$interrupted', '$lease'],
};

/** Takes those of `ids` that are free and match, and returns their documents. The others are held by someone, or do not match. */
export async function takeLeases<N extends LeasedCollection>(
  database: Database,
  name: N,
  request: LeaseRequest,
): Promise<Documents[N][]> {
  const collection = database.db.collection<{ _id: string } & Document>(name);
  const { ids, holder, purpose, leaseMs } = request;
  const taken = await collection.updateMany({ _id: { $in: ids }, ...request.where, ...FREE }, [
    {
      $set: {
        interrupted: INTERRUPTED,
        lease: { holder, purpose, until: { $add: ['$$NOW', leaseMs] } },
        fence: { $add: ['$fence', 1] },
      },
    },
  ]);
  if (taken.modifiedCount === 0) return [];
  const found = await collection.find({ _id: { $in: ids }, 'lease.holder': holder }).toArray();
  return found as unknown as Documents[N][];
}

/** Prolongs what the holder still holds; resolves to the ids of those. */
export async function renewLeases(
  database: Database,
  name: LeasedCollection,
  request: { ids: string[]; holder: string; leaseMs: number },
): Promise<string[]> {
  const collection = database.db.collection<{ _id: string } & Document>(name);
  const filter = { _id: { $in: request.ids }, 'lease.holder': request.holder };
  await collection.updateMany(filter, [{ $set: { 'lease.until': { $add: ['$$NOW', request.leaseMs] } } }]);
  const held = await collection.find(filter, { projection: { _id: 1 } }).toArray();
  return held.map((doc) => doc._id);
}

/**
 * Gives back leases that were taken and not acted on. An interruption from before stays on record, because this holder did
 * nothing about it. Where the lease lapsed and another worker took it over, the record that this holder was interrupted
 * goes: nothing was. The fence moves on, so that no write of this holder can come after.
 */
export async function releaseLeases(
  database: Database,
  name: LeasedCollection,
  { ids, holder }: { ids: string[]; holder: string },
): Promise<void> {
  if (ids.length === 0) return;
  const collection = database.db.collection<{ _id: string } & Document>(name);
  const isOurs = (lease: string) => ({ $eq: [`${lease}.holder`, holder] });
  await collection.updateMany(
    { _id: { $in: ids }, $or: [{ 'lease.holder': holder }, { 'interrupted.holder': holder }] },
    [
      {
        $set: {
          fence: { $cond: [isOurs('$lease'), { $add: ['$fence', 1] }, '$fence'] },
          lease: { $cond: [isOurs('$lease'), null, '$lease'] },
          interrupted: { $cond: [isOurs('$interrupted'), null, '$interrupted'] },
        },
      },
    ],
  );
}
