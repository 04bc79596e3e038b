/** `subscriptions`: who is told. */
import type { Document } from 'mongodb';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Entry } from '../audit/inbox.ts';
import { type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased } from '../base/document.ts';
import type { DueDate } from '../base/due-date.ts';
import { type IdPage, idAfter } from '../base/page.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** Which entries a subscription is about. An empty list filters nothing out. */
export type SubscriptionFilter = {
  /** Entry types; `*` stands for any characters: `credential.*`. */
  types: string[];
  services: string[];
  outcomes: Entry['outcome'][];
};

/** A sealed secret of a subscription, bound to its id and `generation`. `until`: a rotated one's last moment. */
export type SubscriptionSecret = { sealed: StoredSecret; generation: number; until: Date | null };

export type SubscriptionDoc = Leased & {
  _id: string;
  tenantId: string;
  name: string;
  sink: string;
  /** Checked by the sink's own schema. Never a secret. */
  settings: Record<string, unknown>;
  filter: SubscriptionFilter;
  /** Newest first. */
  secrets: SubscriptionSecret[];
  /** `disabled`: the consumer asked for it (410), or the sink gave up for good; a person resumes it. */
  state: 'active' | 'paused' | 'disabled';
  /** Every entry up to this `seq` has been told, or has a delivery of its own that is still to be told. */
  cursor: number;
  /** Entries up to this `seq` are to be told. Only grows. */
  wantedSeq: number;
  /** When there is something to deliver, or to look at, next; absent: nothing. */
  dueAt?: Date;
  /** Attempts that failed in a row; 0 after a success. From `OPEN_AFTER` (delivery) on one is tried at a time. */
  failures: number;
  lastError: { reason: string; status: number | null; at: Date } | null;
  /** The consumer is left alone until then; null: it takes what comes. */
  notBefore: Date | null;
  /** How often a replay was asked for: a sink that drops repetitions tells by it that this one is wanted. */
  replays: number;
  createdAt: Date;
  updatedAt: Date;
};

export const INDEXES: Indexes = [
  // The subscriptions of a tenant.
  { key: { tenantId: 1, _id: 1 } },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
];

/** Deliveries, and replays, that wait for their time. */
export const DUE: DueDate = { in: 'subscriptions', field: 'dueAt', read: [] };

/** Where sealed values lie. */
export const SEALED: SealedPlaces<SubscriptionDoc> = {
  'secrets.sealed': (doc) =>
    doc.secrets.flatMap(({ sealed, generation }, index) => at(`secrets.${index}.sealed`, sealed, doc._id, generation)),
};

const subscriptions = ({ db }: HasDb) => db.collection<SubscriptionDoc>('subscriptions');

/** One subscription; null where the tenant has none of that id. */
export function findSubscription(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<SubscriptionDoc | null> {
  return subscriptions(database).findOne({ _id: id, tenantId });
}

/**
 * Notes that the active subscriptions of a tenant want the entries up to `seq`, and claims them until `claimedUntil`, as the
 * sweep would: when their hints get lost they are due then. One whose consumer is left alone beyond `now` is not claimed.
 * Resolves to the ids of those that were claimed.
 */
export async function claimForNewEntries(
  database: HasDb,
  { tenantId, seq, now, claimedUntil }: { tenantId: string; seq: number; now: Date; claimedUntil: Date },
): Promise<string[]> {
  const isLeftAlone = { $gt: ['$notBefore', now] };
  const noted = await subscriptions(database).updateMany({ tenantId, state: 'active', wantedSeq: { $lt: seq } }, [
    { $set: { wantedSeq: seq, dueAt: { $cond: [isLeftAlone, '$dueAt', claimedUntil] } } },
  ]);
  if (noted.matchedCount === 0) return [];
  const claimed = await subscriptions(database)
    .find({ tenantId, dueAt: claimedUntil }, { projection: { _id: 1 } })
    .toArray();
  return claimed.map((doc) => doc._id);
}

/** How far the delivery has come; what is left out stays as it is. */
export type DeliveryProgress = Partial<
  Pick<SubscriptionDoc, 'cursor' | 'failures' | 'lastError' | 'notBefore' | 'dueAt'>
>;

/**
 * Writes progress of a subscription that is still held as it was read. Null when it was changed meanwhile (replayed, paused) or
 * is in other hands: what is then left to do is due at `now`.
 */
export function saveDeliveryProgress(
  database: HasDb,
  read: SubscriptionDoc,
  { progress, now }: { progress: DeliveryProgress; now: Date },
): Promise<SubscriptionDoc | null> {
  return saveHeld(database, read, literally(progress), now);
}

/**
 * As `saveDeliveryProgress`, when nothing is left: it is due again at `retryAt` (null: not at all), or at `now` when more
 * entries are wanted than up to the cursor.
 */
export function saveDeliveryDone(
  database: HasDb,
  read: SubscriptionDoc,
  { progress, retryAt, now }: { progress: DeliveryProgress & { cursor: number }; retryAt: Date | null; now: Date },
): Promise<SubscriptionDoc | null> {
  const dueAt = { $cond: [{ $gt: ['$wantedSeq', progress.cursor] }, now, retryAt ?? '$$REMOVE'] };
  return saveHeld(database, read, { ...literally(progress), dueAt }, now);
}

/** In a pipeline `$` begins an expression: the consumer's error is no such thing. */
function literally({ lastError, ...fields }: DeliveryProgress): Document {
  return { ...fields, ...(lastError !== undefined && { lastError: { $literal: lastError } }) };
}

async function saveHeld(
  database: HasDb,
  { _id, tenantId, fence, cursor }: SubscriptionDoc,
  fields: Document,
  now: Date,
): Promise<SubscriptionDoc | null> {
  const held = { _id, tenantId, fence, state: 'active' as const };
  const saved = await subscriptions(database).findOneAndUpdate({ ...held, cursor }, [{ $set: fields }], {
    returnDocument: 'after',
  });
  if (!saved) await subscriptions(database).updateOne(held, { $set: { dueAt: now } });
  return saved;
}

/**
 * Makes a subscription due when it wants entries beyond its cursor, nobody holds it and its consumer may be called. By its id
 * alone: a job names no tenant.
 */
export async function makeDueWhenBehind(database: HasDb, { id, dueAt }: { id: string; dueAt: Date }): Promise<void> {
  const isBehind = { $expr: { $gt: ['$wantedSeq', '$cursor'] } };
  const idle = { state: 'active' as const, notBefore: null, lease: null };
  await subscriptions(database).updateOne({ _id: id, ...idle, ...isBehind }, { $set: { dueAt } });
}

/** Disables all subscriptions of a tenant. */
export async function disableSubscriptions(database: HasDb, tenantId: string): Promise<void> {
  await subscriptions(database).updateMany({ tenantId }, { $set: { state: 'disabled' }, $unset: { dueAt: '' } });
}

/** Removes a subscription; its deliveries stay. */
export async function removeSubscription(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<void> {
  await subscriptions(database).deleteOne({ _id: id, tenantId });
}

/** A tenant's subscriptions, oldest first. */
export function listSubscriptions(database: HasDb, { tenantId, after, limit }: IdPage): Promise<SubscriptionDoc[]> {
  return subscriptions(database)
    .find({ tenantId, ...idAfter(after) })
    .sort({ _id: 1 })
    .limit(limit)
    .toArray();
}
