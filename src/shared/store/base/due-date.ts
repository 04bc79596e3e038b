import type { Document } from 'mongodb';

/**
 * A date by which the sweep finds what is due in a collection; a partial index is on it. `Read` names the fields, texts, that
 * tell which job a document turns into.
 */
export type DueDate<Read extends string = never> = {
  /** The collection. */
  in: string;
  /** The date's path in a document. Absent there: nothing is due. */
  field: string;
  /** Path that keeps the date that was due until a worker has settled it. */
  claim?: string;
  /** Tells what was handed to a worker from what comes due by itself within the time of a claim. Absent: nothing tells. */
  isClaimed?: Document;
  read: readonly Read[];
};
