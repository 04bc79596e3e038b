/**
 * Puts committed entries into their place in the tenant's chain (promise 7). Entries are committed with their change
 * into `audit_inbox`, without a place, so that no two workers contend for the head; one chainer at a time moves them
 * to `audit`: numbered, hash-linked, authenticated, inserted once and never updated.
 */
import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { appendToLog, dropChained } from '../store/audit/append.ts';
import type { ChainedEntry } from '../store/audit/entries.ts';
import { type ChainHead, findHead } from '../store/audit/heads.ts';
import { type Entry, listInbox } from '../store/audit/inbox.ts';

/** The `prev` of the first entry. */
export const GENESIS = '0'.repeat(64);

/** Chainers that share the work lose a few races in a row, never this many. */
const MAX_RACES = 200;

/** Entries of one transaction. */
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
 * Chains the entries of a tenant that were committed before the call, but about `max` of them: a tenant with a long queue
 * does not keep the others waiting. Resolves to their number; it is below `max` when none is left.
 */
export async function chainEntries(deps: ChainDeps, tenantId: string, max = 50 * BATCH): Promise<number> {
  for (let total = 0, races = 0; ; ) {
    const moved = await chainBatch(deps, tenantId);
    if (moved === null) {
      // Another chainer was faster: look again. After too many races the reason must be another one.
      races += 1;
      if (races > MAX_RACES) throw new AppError('internal', { internal: 'the head does not fit the log' });
      continue;
    }
    races = 0;
    total += moved;
    if (moved < BATCH || total >= max) return total;
  }
}

/** Resolves to the number of entries that were chained; null when another chainer was faster. */
async function chainBatch(deps: ChainDeps, tenantId: string): Promise<number | null> {
  const { database } = deps;
  const waiting = await listInbox(database, { tenantId, limit: BATCH });
  if (waiting.length === 0) return 0;
  const read = await findHead(database, tenantId);
  const links = await linkUp(deps, waiting, read);
  const outcome = await appendToLog(database, { read, next: nextHead(deps, read, links), links });
  if (outcome === 'appended') return links.length;
  if (outcome === 'duplicate') {
    const ids = waiting.map((entry) => entry._id);
    await dropChained(database, ids);
  }
  return null;
}

/** The entries in the places after the head: numbered, each with its hash and MAC. */
async function linkUp(deps: ChainDeps, entries: Entry[], head: ChainHead | null): Promise<ChainedEntry[]> {
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

/** With the new head it is committed that subscribers and a checkpoint are due: should this process die, the sweep knows. */
function nextHead({ clock }: ChainDeps, head: ChainHead | null, links: ChainedEntry[]): Omit<ChainHead, '_id'> {
  const { tenantId, seq, hash } = links.at(-1)!;
  const now = new Date(clock.now());
  const isUnsigned = links.some((entry) => entry.type !== CHECKPOINT_ENTRY);
  return {
    tenantId,
    seq,
    hash,
    updatedAt: now,
    dueAt: now,
    detectAt: now,
    ...(isUnsigned && { unsignedSince: head?.unsignedSince ?? now }),
  };
}
