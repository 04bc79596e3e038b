/** Transactions: all writes of one `work`, or none. */
import type { ClientSession } from 'mongodb';
import type { HasClient } from './collection.ts';

/** Attempts included: a transaction that keeps colliding with others is given up after this. */
const TIMEOUT_MS = 20_000;

/**
 * Runs `work` in one transaction, and again when the server says that a retry may help: so `work` may run several times.
 * An error that it throws ends the transaction without a trace, and is thrown on.
 */
export async function inTransaction(
  { client }: HasClient,
  work: (session: ClientSession) => Promise<void>,
): Promise<void> {
  await client.withSession((session) => session.withTransaction(work, { timeoutMS: TIMEOUT_MS }));
}
