/** `events`: what was accepted, until it is settled and after. */
import { isDuplicateKey } from '../../platform/driver-errors.ts';
import { AppError, type ErrorCode } from '../../platform/errors.ts';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import { type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased, Origin } from '../base/document.ts';
import type { DueDate } from '../base/due-date.ts';
import { type IdPage, idBefore } from '../base/page.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** `parked`: waits for a person. */
export type EventStatus = 'accepted' | 'processing' | 'succeeded' | 'failed' | 'parked';

/** An event in one of these is still to be worked on; in any other it is settled, or waits for a person. */
export const OPEN_EVENT_STATUSES: EventStatus[] = ['accepted', 'processing'];

/** An event that was accepted. */
export type EventDoc = Leased & {
  _id: string;
  tenantId: string;
  /** CloudEvents `source` and `id`: together they identify a duplicate (CloudEvents 1.0 §3.1.1). */
  source: string;
  sourceId: string;
  type: string;
  subject: string | null;
  time: Date | null;
  /** The checked data. Fields that are secret are in `sealed` instead. */
  data: Record<string, unknown>;
  /** The secret fields as one sealed JSON object, bound to this event (generation 1). */
  sealed: StoredSecret | null;
  principalId: string;
  origin: Origin;
  status: EventStatus;
  attempts: number;
  /** When work on it is next due; absent once settled. */
  dueAt?: Date;
  problem: { code: ErrorCode; detail: string } | null;
  credentialId: string | null;
  /** W3C traceparent of the request that brought it. */
  traceparent: string | null;
  receivedAt: Date;
  settledAt: Date | null;
};

/** A change of an event; `dueAt` goes when nothing is due any more. */
export type EventUpdate = { $set: Partial<EventDoc>; $unset?: { dueAt: '' } };

export const INDEXES: Indexes = [
  // A duplicate (CloudEvents 1.0 §3.1.1).
  { key: { tenantId: 1, source: 1, sourceId: 1 }, unique: true },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
  // The parked ones of a tenant, and how many wait.
  { key: { tenantId: 1, status: 1, _id: 1 } },
  // What a rotation of keys walks through.
  { key: { tenantId: 1, _id: 1 } },
];

/** The relay: events whose hint was lost, and those that are to be tried again. */
export const DUE: DueDate<'type'> = { in: 'events', field: 'dueAt', isClaimed: { status: 'accepted' }, read: ['type'] };

/** Where sealed values lie. */
export const SEALED: SealedPlaces<EventDoc> = { sealed: (doc) => at('sealed', doc.sealed, doc._id) };

const events = ({ db }: HasDb) => db.collection<EventDoc>('events');

/** One event; null where the tenant has none of that id. */
export function findEvent(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<EventDoc | null> {
  return events(database).findOne({ _id: id, tenantId });
}

/** Whose event it is; null where there is none. For the operator, who names an event and no tenant. */
export async function findTenantOfEvent(database: HasDb, id: string): Promise<string | null> {
  const doc = await events(database).findOne({ _id: id }, { projection: { tenantId: 1 } });
  return doc?.tenantId ?? null;
}

/** The open ones among `ids`, which a job's payload names: it spans tenants, so this read does not filter on one. */
export async function findOpenEvents(database: HasDb, ids: string[]): Promise<EventDoc[]> {
  if (ids.length === 0) return [];
  return await events(database)
    .find({ _id: { $in: ids }, status: { $in: OPEN_EVENT_STATUSES } })
    .toArray();
}

/** Events that wait for a person, the oldest first. Without `tenantId` those of all tenants: for the operator. */
export function listParkedEvents(
  database: HasDb,
  { tenantId, limit }: { tenantId?: string | undefined; limit: number },
): Promise<EventDoc[]> {
  return events(database)
    .find({ ...(tenantId !== undefined && { tenantId }), status: 'parked' })
    .sort({ _id: 1 })
    .limit(limit)
    .toArray();
}

/**
 * Inserts new events in one write. Resolves to those that were there before under the same source and id: the id of the new
 * document → the id of the first one. Throws `store_unavailable` when one is neither inserted nor there.
 */
export async function insertEvents(database: HasDb, docs: EventDoc[]): Promise<Map<string, string>> {
  if (docs.length === 0) return new Map();
  try {
    await events(database).insertMany(docs, { ordered: false });
    return new Map();
  } catch (error) {
    if (!isDuplicateKey(error)) throw error;
  }
  const firsts = await firstEventIds(database, docs);
  const pairs = docs.map((doc) => [doc._id, firsts.get(sourceKeyOf(doc))] as const);
  if (pairs.some(([, first]) => first === undefined)) throw new AppError('store_unavailable');
  return new Map(pairs.filter((pair): pair is [string, string] => pair[0] !== pair[1]));
}

/** What identifies a duplicate (CloudEvents 1.0 §3.1.1). */
type SourceKey = Pick<EventDoc, 'tenantId' | 'source' | 'sourceId'>;

const sourceKeyOf = ({ tenantId, source, sourceId }: SourceKey) => JSON.stringify([tenantId, source, sourceId]);

async function firstEventIds(database: HasDb, docs: EventDoc[]): Promise<Map<string, string>> {
  const keys = docs.map(({ tenantId, source, sourceId }) => ({ tenantId, source, sourceId }));
  const projection = { tenantId: 1, source: 1, sourceId: 1 };
  const stored = await events(database).find({ $or: keys }, { projection }).toArray();
  return new Map(stored.map((doc) => [sourceKeyOf(doc), doc._id]));
}

/** Writes what becomes of events, in one call. One that is not open any more stays as it is. */
export async function updateOpenEvents(
  database: HasDb,
  writes: { event: Pick<EventDoc, '_id' | 'tenantId'>; update: EventUpdate }[],
): Promise<void> {
  if (writes.length === 0) return;
  const operations = writes.map(({ event: { _id, tenantId }, update }) => ({
    updateOne: { filter: { _id, tenantId, status: { $in: OPEN_EVENT_STATUSES } }, update },
  }));
  await events(database).bulkWrite(operations, { ordered: false });
}

/** No event of a tenant is due any more. */
export async function clearEventDueDates(database: HasDb, tenantId: string): Promise<void> {
  await events(database).updateMany({ tenantId }, { $unset: { dueAt: '' } });
}

/** A tenant's events, newest first. `status` left out: all of them. */
export function listEvents(
  database: HasDb,
  { tenantId, after, limit, status }: IdPage & { status?: EventStatus | undefined },
): Promise<EventDoc[]> {
  return events(database)
    .find({ tenantId, ...(status !== undefined && { status }), ...idBefore(after) })
    .sort({ _id: -1 })
    .limit(limit)
    .toArray();
}

/** How many events of a tenant are open, by index, counted up to `limit`. */
export function countOpenEvents(
  database: HasDb,
  { tenantId, limit }: { tenantId: string; limit: number },
): Promise<number> {
  return events(database).countDocuments({ tenantId, status: { $in: OPEN_EVENT_STATUSES } }, { limit });
}

/** One event. Without a tenant: the id is from the journal of a dead process, which keeps ids only. */
export function findEventById(database: HasDb, id: string): Promise<EventDoc | null> {
  return events(database).findOne({ _id: id });
}
