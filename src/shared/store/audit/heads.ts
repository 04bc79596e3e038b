/** `audit_heads`: where the chain of each tenant ends, and what is due about it. */
import type { ClientSession } from 'mongodb';
import { type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
import type { DueDate } from '../base/due-date.ts';

export type ChainHead = {
  _id: string;
  tenantId: string;
  seq: number;
  hash: string;
  updatedAt: Date;
  /** When something is to be done about it next: subscribers told, a checkpoint signed. Absent: nothing. */
  dueAt?: Date;
  /** Subscriptions know of the entries up to here. */
  toldSeq?: number;
  /** Since when there are entries that no checkpoint covers. Absent: there are none. */
  unsignedSince?: Date;
  /** When the rules are to look at what was chained; absent once they have. */
  detectAt?: Date;
};

export const INDEXES: Indexes = [
  // Subscribers to be told, checkpoints to be signed.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
  // Entries that the rules have not seen.
  { key: { detectAt: 1 }, ...whenPresent('detectAt') },
];

/** What is due about a chain. The id of a head is its tenant's. */
export const DUE = {
  /** Subscribers are to be told of new entries, or a checkpoint to be signed. */
  tell: { in: 'audit_heads', field: 'dueAt', read: [] },
  /** The log has entries that the rules have not seen. */
  detect: { in: 'audit_heads', field: 'detectAt', read: [] },
} satisfies Record<string, DueDate>;

const heads = ({ db }: HasDb) => db.collection<ChainHead>('audit_heads');

/** Where the chain of a tenant ends; null while it has no entry. */
export function findHead(database: HasDb, tenantId: string): Promise<ChainHead | null> {
  return heads(database).findOne({ _id: tenantId, tenantId });
}

/** Tenants that have a chain. */
export function listTenantsWithHead(database: HasDb): Promise<string[]> {
  return heads(database).distinct('tenantId');
}

/**
 * Moves the head from where it was read (null: there was none) to `next`. False when another chainer has moved it
 * meanwhile. Throws a duplicate key when another one made the first.
 */
export async function moveHead(
  database: HasDb,
  { read, next }: { read: ChainHead | null; next: Omit<ChainHead, '_id'> },
  session: ClientSession,
): Promise<boolean> {
  const { tenantId } = next;
  if (read === null) {
    await heads(database).insertOne({ _id: tenantId, ...next }, { session });
    return true;
  }
  const asRead = { _id: tenantId, seq: read.seq, hash: read.hash };
  return (await heads(database).updateOne(asRead, { $set: next }, { session })).matchedCount === 1;
}

/**
 * Notes that subscribers know of the entries up to `seq`, and when the head is due next (null: it is not). Changes nothing when
 * the chain has grown meanwhile: its head stays due as it stands.
 */
export async function settleHead(
  database: HasDb,
  { tenantId, seq, dueAt }: { tenantId: string; seq: number; dueAt: Date | null },
): Promise<void> {
  const update = dueAt ? { $set: { toldSeq: seq, dueAt } } : { $set: { toldSeq: seq }, $unset: { dueAt: '' as const } };
  await heads(database).updateOne({ _id: tenantId, tenantId, seq }, update);
}

/** Notes that the rules have seen all entries up to `seq`. Changes nothing when the chain has grown meanwhile: they are due still. */
export async function settleDetection(
  database: HasDb,
  { tenantId, seq }: { tenantId: string; seq: number },
): Promise<void> {
  await heads(database).updateOne({ _id: tenantId, tenantId, seq }, { $unset: { detectAt: '' } });
}
