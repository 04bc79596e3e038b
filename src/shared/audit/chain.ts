/**
 * Puts committed entries into their place in the tenant's chain (promise 7). Entries are committed with their change
 * into `audit_inbox`, without a place, so that no two workers contend for the head; one chainer at a time moves them
 * to `audit`: numbered, hash-linked, authenticated, inserted once and never updated.
 */
import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { ClientSession } from 'mongodb';
import { isDuplicateKey } from '../platform/driver-errors.ts';
import { AppError, toAppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { ChainedEntry } from '../store/audit/entries.ts';
import type { ChainHead } from '../store/audit/heads.ts';
import type { Entry } from '../store/audit/inbox.ts';

export const GENESIS = '0'.repeat(64);

/** Far beyond what chainers that share the work do to each other. */
const MAX_RACES = 200;

const BATCH = 1_000;

type ChainDeps = Pick<Deps, 'database' | 'sealer' | 'clock'>;

/** The type of the entries that checkpoints themselves make; they alone call for no further checkpoint. */
export const CHECKPOINT_ENTRY = 'audit.checkpoint';

/**
 * SHA-256(previous ‖ JCS(entry with seq)) as hex; `prev` is hex, JCS as in RFC 8785, dates are ISO 8601 strings. Takes
 * entries from MongoDB and from an export alike.
 */
export function hashEntry(prev: string, entry: Record<string, unknown> & { seq: number }): string {
  return createHash('sha256')
    .update(prev)
    .update(canonicalize(entry) as string)
    .digest('hex');
}

/**
 * Chains the entries of a tenant that were committed before the call, at most about `most`: so that a tenant with a long
 * queue does not keep the others waiting. Resolves to their number; it is below `most` when none is left.
 */
export async function chainEntries(deps: ChainDeps, tenantId: string, most = 50 * BATCH): Promise<number> {
  for (let total = 0, races = 0; ; ) {
    const moved = await chainBatch(deps, tenantId);
    if (moved === null) {
      // Another chainer was faster; look again. So often in a row, it is something else.
      races += 1;
      if (races > MAX_RACES) throw new AppError('internal', { internal: 'the head does not fit the log' });
      continue;
    }
    races = 0;
    total += moved;
    if (moved < BATCH || total >= most) return total;
  }
}

async function chainBatch(deps: ChainDeps, tenantId: string): Promise<number | null> {
  const { database } = deps;
  let ids: string[] = [];
  try {
    const waiting = await database.collection('audit_inbox').find({ tenantId }).sort({ _id: 1 }).limit(BATCH).toArray();
    if (waiting.length === 0) return 0;
    ids = waiting.map((entry) => entry._id);
    const head = await database.collection('audit_heads').findOne({ _id: tenantId });
    const links = await link(deps, waiting, head);
    await database.client.withSession((session) =>
      session.withTransaction(() => move(deps, { tenantId, head, links }, session), { timeoutMS: 20_000 }),
    );
    return links.length;
  } catch (error) {
    if (error instanceof HeadMoved) return null;
    if (!isDuplicateKey(error)) throw toAppError(error);
  }
  await dropTwins(deps, ids);
  return null;
}

/** An entry that is on the log already waits in vain: whatever brought it twice, it is told once. */
async function dropTwins({ database }: ChainDeps, ids: string[]): Promise<void> {
  const chained = await database
    .collection('audit')
    .find({ _id: { $in: ids } }, { projection: { _id: 1 } })
    .toArray();
  if (chained.length === 0) return;
  await database.collection('audit_inbox').deleteMany({ _id: { $in: chained.map((entry) => entry._id) } });
}

async function link(deps: ChainDeps, entries: Entry[], head: ChainHead | null): Promise<ChainedEntry[]> {
  const links: ChainedEntry[] = [];
  let prev = head?.hash ?? GENESIS;
  let seq = head?.seq ?? 0;
  for (const entry of entries) {
    seq += 1;
    const hash = hashEntry(prev, { ...entry, seq });
    links.push({ ...entry, seq, prev, hash, mac: await deps.sealer.mac(entry.tenantId, hash) });
    prev = hash;
  }
  return links;
}

type Move = { tenantId: string; head: ChainHead | null; links: ChainedEntry[] };

/** Ends a transaction without a trace: another chainer was faster. */
class HeadMoved extends Error {}

/** Compare-and-set on the head, insert, delete: all or nothing. */
async function move(deps: ChainDeps, { tenantId, head, links }: Move, session: ClientSession): Promise<void> {
  const heads = deps.database.collection('audit_heads');
  const next = nextHead(deps, { tenantId, head, links });
  if (head === null) {
    await heads.insertOne({ _id: tenantId, ...next }, { session });
  } else {
    const moved = await heads.updateOne({ _id: tenantId, seq: head.seq, hash: head.hash }, { $set: next }, { session });
    if (moved.matchedCount === 0) throw new HeadMoved();
  }
  await deps.database.collection('audit').insertMany(links, { session });
  const ids = links.map((entry) => entry._id);
  const removed = await deps.database.collection('audit_inbox').deleteMany({ _id: { $in: ids } }, { session });
  if (removed.deletedCount !== ids.length) throw new HeadMoved();
}

/** With the new head it is committed that subscribers and a checkpoint are due: whoever dies next, the sweep knows. */
function nextHead(deps: ChainDeps, { tenantId, head, links }: Move): Omit<ChainHead, '_id'> {
  const last = links.at(-1)!;
  const now = new Date(deps.clock.now());
  const unsigned = links.some((entry) => entry.type !== CHECKPOINT_ENTRY);
  return {
    tenantId,
    seq: last.seq,
    hash: last.hash,
    updatedAt: now,
    dueAt: now,
    detectAt: now,
    ...(unsigned && { unsignedSince: head?.unsignedSince ?? now }),
  };
}
