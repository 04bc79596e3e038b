/** Entries as messages to subscribers. */
import { viewEntry } from '../audit/entry-view.ts';
import type { ChainedEntry } from '../store/audit/entries.ts';
import type { Message } from './sinks/contract.ts';

/** The message about an entry: the same entry always makes the same one. */
export function messageOf(entry: ChainedEntry): Message {
  return { id: entry._id, type: entry.type, timestamp: entry.at.toISOString(), data: viewEntry(entry) };
}
