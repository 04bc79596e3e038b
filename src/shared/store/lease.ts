/**
 * One actor per credential (promise 3). A lease is taken for many objects in two calls; the holder's name is unique to
 * the call, so what was taken is found by it. Times are the server's (`$$NOW`): skew between processes does not matter.
 */
import type { Document } from 'mongodb';
import { toStoreError } from './commit.ts';
import type { Database, Documents } from './database.ts';
import type { Leased } from './documents.ts';

export type LeasedCollection = { [N in keyof Documents]: Documents[N] extends Leased ? N : never }[keyof Documents];

export type LeaseRequest = {
  ids: string[];
  /** Unique to this call. */
  holder: string;
  purpose: string;
  leaseMs: number;
  /** What else must hold, e.g. `{state: 'active'}`. */
  where?: Document;
};

/** True on the server when nobody holds the object, or its holder did not come back in time. */
const FREE = { $or: [{ lease: null }, { $expr: { $lt: ['$lease.until', '$$NOW'] } }] };

/** Takes what is free of `ids` and returns those documents. What is missing is held by someone, or does not match. */
export async function takeLeases<N extends LeasedCollection>(
  database: Database,
  name: N,
  request: LeaseRequest,
): Promise<Documents[N][]> {
  const collection = database.db.collection<{ _id: string } & Document>(name);
  const { ids, holder, purpose, leaseMs } = request;
  try {
    const taken = await collection.updateMany({ _id: { $in: ids }, ...request.where, ...FREE }, [
      {
        $set: {
          interrupted: { $ifNull: ['$lease', '$interrupted'] },
          lease: { holder, purpose, until: { $add: ['$$NOW', leaseMs] } },
          fence: { $add: ['$fence', 1] },
        },
      },
    ]);
    if (taken.modifiedCount === 0) return [];
    const found = await collection.find({ _id: { $in: ids }, 'lease.holder': holder }).toArray();
    return found as unknown as Documents[N][];
  } catch (error) {
    throw toStoreError(error);
  }
}

/** Prolongs what the holder still holds; resolves to the number of those. */
export async function renewLeases(
  database: Database,
  name: LeasedCollection,
  request: { ids: string[]; holder: string; leaseMs: number },
): Promise<number> {
  const collection = database.db.collection<{ _id: string } & Document>(name);
  const renewed = await collection.updateMany({ _id: { $in: request.ids }, 'lease.holder': request.holder }, [
    { $set: { 'lease.until': { $add: ['$$NOW', request.leaseMs] } } },
  ]);
  return renewed.matchedCount;
}

/** What a holder sets in its last write: the lease ended well. */
export const RELEASED = { lease: null, interrupted: null } as const;

/** Gives back what was taken and not acted on. */
export async function releaseLeases(
  database: Database,
  name: LeasedCollection,
  request: { ids: string[]; holder: string; set?: Document },
): Promise<void> {
  if (request.ids.length === 0) return;
  const collection = database.db.collection<{ _id: string } & Document>(name);
  try {
    await collection.updateMany(
      { _id: { $in: request.ids }, 'lease.holder': request.holder },
      // What was interrupted before stays so: this holder did nothing about it.
      { $set: { lease: null, ...request.set } },
    );
  } catch (error) {
    throw toStoreError(error);
  }
}
