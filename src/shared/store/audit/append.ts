/** The one write that makes the chain longer: head, log and inbox change together. */
import { isDuplicateKey } from '../../platform/driver-errors.ts';
import type { HasClient, HasDb } from '../base/collection.ts';
import { inTransaction } from '../base/transaction.ts';
import { type ChainedEntry, insertLinks, listChainedIds } from './entries.ts';
import { type ChainHead, moveHead } from './heads.ts';
import { removeFromInbox } from './inbox.ts';

/** `links` go from the inbox to the log; the head moves from where it was `read` (null: there was none) to `next`. */
export type Appendix = { read: ChainHead | null; next: Omit<ChainHead, '_id'>; links: ChainedEntry[] };

/** Ends the transaction without a trace: another chainer was faster. */
class Overtaken extends Error {}

/**
 * Appends links to a tenant's log, all or nothing. `stale`: another chainer was faster. `duplicate`: it was faster with the
 * first entry of all, or one of the links is on the log already. Throws what the driver throws.
 */
export async function appendToLog(
  database: HasClient,
  { read, next, links }: Appendix,
): Promise<'appended' | 'stale' | 'duplicate'> {
  const ids = links.map((entry) => entry._id);
  try {
    await inTransaction(database, async (session) => {
      if (!(await moveHead(database, { read, next }, session))) throw new Overtaken();
      await insertLinks(database, links, session);
      if ((await removeFromInbox(database, ids, session)) !== ids.length) throw new Overtaken();
    });
    return 'appended';
  } catch (error) {
    if (error instanceof Overtaken) return 'stale';
    if (isDuplicateKey(error)) return 'duplicate';
    throw error;
  }
}

/** Removes those of `ids` from the inbox that are on the log already, however they came there twice: each is told once. */
export async function dropChained(database: HasDb, ids: string[]): Promise<void> {
  const chained = await listChainedIds(database, ids);
  if (chained.length > 0) await removeFromInbox(database, chained);
}
