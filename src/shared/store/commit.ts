/**
 * Commits many changes as one transaction, each with its own compare-and-set and its audit entries (promise 6), and each with
 * its own outcome. A change whose condition does not hold never harms its neighbours: the group is halved until that change
 * stands alone.
 */
import type { AnyBulkWriteOperation, ClientSession, Document } from 'mongodb';
import { makeBatcher } from '../platform/concurrency/batcher.ts';
import { isDuplicateKey } from '../platform/driver-errors.ts';
import { AppError, toAppError } from '../platform/errors.ts';
import { listChainedIds } from './audit/entries.ts';
import { addToInbox, type Entry, isInInbox } from './audit/inbox.ts';
import { inTransaction } from './base/transaction.ts';
import type { CollectionName, Database, Documents } from './database.ts';

/** `update` must match exactly one document, else the whole change is `stale`; `insert` of what exists is `duplicate`. */
export type Operation<N extends CollectionName = CollectionName> =
  | { in: N; insert: Documents[N] }
  | { in: N; update: Document & { _id: string; tenantId: string }; set: Document };

/** One change, all or nothing. It has at least one entry: no act without a record. */
export type Change = { operations: Operation[]; entries: Entry[] };

export type Outcome = 'committed' | 'stale' | 'duplicate';

export type Commit = (change: Change) => Promise<Outcome>;

/** `commit` for one process. `idle` resolves when all that was handed in is settled. */
export function makeCommitter(
  database: Database,
  options: { maxSize?: number; maxConcurrent?: number } = {},
): { commit: Commit; idle: () => Promise<void> } {
  const batcher = makeBatcher<Change, Outcome>((changes) => commitGroup(database, changes), {
    maxSize: options.maxSize ?? 200,
    maxConcurrent: options.maxConcurrent ?? 2,
  });
  return { commit: batcher.run, idle: batcher.idle };
}

async function commitGroup(database: Database, changes: Change[]): Promise<(Outcome | Error)[]> {
  const outcome = await tryCommit(database, changes);
  if (outcome === 'committed') return changes.map(() => 'committed' as const);
  if (outcome instanceof AppError && outcome.code === 'store_unavailable') return changes.map(() => outcome);
  if (changes.length === 1) return [await judgeAlone(database, changes[0]!, outcome)];
  const middle = Math.ceil(changes.length / 2);
  return [
    ...(await commitGroup(database, changes.slice(0, middle))),
    ...(await commitGroup(database, changes.slice(middle))),
  ];
}

/**
 * A change that failed alone may have been committed by an attempt whose answer got lost. Its entries carry ids from
 * the start, so their presence tells.
 */
async function judgeAlone(database: Database, change: Change, outcome: Outcome | Error): Promise<Outcome | Error> {
  const id = change.entries[0]!._id;
  const isThere = (await isInInbox(database, id)) || (await listChainedIds(database, [id])).length > 0;
  return isThere ? 'committed' : outcome;
}

/** Ends the transaction without a trace: the condition of some change does not hold. */
class Mismatch extends Error {}

type AnyDocument = { _id: string } & Document;

async function tryCommit(database: Database, changes: Change[]): Promise<Outcome | Error> {
  try {
    await inTransaction(database, (session) => writeAll(database, changes, session));
    return 'committed';
  } catch (error) {
    if (error instanceof Mismatch) return 'stale';
    if (isDuplicateKey(error)) return 'duplicate';
    return toAppError(error);
  }
}

async function writeAll(database: Database, changes: Change[], session: ClientSession): Promise<void> {
  const byCollection = new Map<CollectionName, AnyBulkWriteOperation<AnyDocument>[]>();
  for (const operation of changes.flatMap((change) => change.operations)) {
    const writes = byCollection.get(operation.in) ?? [];
    byCollection.set(operation.in, writes);
    writes.push(
      'insert' in operation
        ? { insertOne: { document: operation.insert as AnyDocument } }
        : // The id decides; without the hint the planner weighs every index that the filter's other fields touch.
          { updateOne: { filter: operation.update, update: operation.set, hint: { _id: 1 } } },
    );
  }
  for (const [name, writes] of byCollection) {
    const updates = writes.filter((write) => 'updateOne' in write).length;
    const result = await database.db.collection<AnyDocument>(name).bulkWrite(writes, { session, ordered: true });
    if (result.matchedCount !== updates) throw new Mismatch();
  }
  const entries = changes.flatMap((change) => change.entries);
  await addToInbox(database, entries, session);
}
