/**
 * Puts committed entries into their place in the tenant's chain (promise 7). Entries are committed with their change
 * into `audit_inbox`, without a place, so that no two workers contend for the head; one chainer at a time moves them
 * to `audit`: numbered, hash-linked, authenticated, inserted once and never updated.
 */
import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { ClientSession } from 'mongodb';
import type { Deps } from './deps.ts';
import { isDuplicateKey, toStoreError } from './store/commit.ts';
import type { ChainedEntry, ChainHead, Entry } from './store/documents.ts';

export const GENESIS = '0'.repeat(64);

const BATCH = 1_000;

type ChainDeps = Pick<Deps, 'database' | 'vault' | 'clock'>;

/** SHA-256(previous ‖ JCS(entry with seq)), both hex; JCS as in RFC 8785, dates as ISO 8601 strings. */
export function hashEntry(prev: string, entry: Entry & { seq: number }): string {
  const record = canonicalize(JSON.parse(JSON.stringify({ ...entry, seq: entry.seq })));
  return createHash('sha256')
    .update(prev)
    .update(record as string)
    .digest('hex');
}

/** Chains all entries of a tenant that were committed before the call. Resolves to their number. */
export async function chainEntries(deps: ChainDeps, tenantId: string): Promise<number> {
  let total = 0;
  for (;;) {
    const moved = await chainBatch(deps, tenantId);
    if (moved !== null) total += moved;
    // null: another chainer was faster; look again.
    if (moved !== null && moved < BATCH) return total;
  }
}

async function chainBatch(deps: ChainDeps, tenantId: string): Promise<number | null> {
  const { database } = deps;
  try {
    const waiting = await database.collection('audit_inbox').find({ tenantId }).sort({ _id: 1 }).limit(BATCH).toArray();
    if (waiting.length === 0) return 0;
    const head = await database.collection('audit_heads').findOne({ _id: tenantId });
    const links = await link(deps, waiting, head);
    const moved = await database.client.withSession((session) =>
      session.withTransaction(() => move(deps, { tenantId, head, links }, session), { timeoutMS: 20_000 }),
    );
    return moved ? links.length : null;
  } catch (error) {
    if (isDuplicateKey(error)) return null;
    throw toStoreError(error);
  }
}

async function link(deps: ChainDeps, entries: Entry[], head: ChainHead | null): Promise<ChainedEntry[]> {
  const links: ChainedEntry[] = [];
  let prev = head?.hash ?? GENESIS;
  let seq = head?.seq ?? 0;
  for (const entry of entries) {
    seq += 1;
    const hash = hashEntry(prev, { ...entry, seq });
    links.push({ ...entry, seq, prev, hash, mac: await deps.vault.mac(entry.tenantId, hash) });
    prev = hash;
  }
  return links;
}

type Move = { tenantId: string; head: ChainHead | null; links: ChainedEntry[] };

/** Compare-and-set on the head, insert, delete: all or nothing. False when the head has moved. */
async function move(deps: ChainDeps, { tenantId, head, links }: Move, session: ClientSession): Promise<boolean> {
  const heads = deps.database.collection('audit_heads');
  const last = links.at(-1)!;
  const next = { tenantId, seq: last.seq, hash: last.hash, updatedAt: new Date(deps.clock.now()) };
  if (head === null) {
    await heads.insertOne({ _id: tenantId, ...next }, { session });
  } else {
    const moved = await heads.updateOne({ _id: tenantId, seq: head.seq, hash: head.hash }, { $set: next }, { session });
    if (moved.matchedCount === 0) return false;
  }
  await deps.database.collection('audit').insertMany(links, { session });
  const ids = links.map((entry) => entry._id);
  const removed = await deps.database.collection('audit_inbox').deleteMany({ _id: { $in: ids } }, { session });
  return removed.deletedCount === ids.length;
}
