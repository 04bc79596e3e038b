/** `subscriptions`: who is told. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Entry } from '../audit/inbox.ts';
import { type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased } from '../base/document.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** Which entries a subscription is about. An empty list filters nothing out. */
export type SubscriptionFilter = {
  /** Entry types; `*` stands for any characters: `credential.*`. */
  types: string[];
  services: string[];
  outcomes: Entry['outcome'][];
};

/** A sealed secret of a subscription, bound to its id and `generation`. `until`: a rotated one's last moment. */
export type SubscriptionSecret = { sealed: StoredSecret; generation: number; until: Date | null };

export type SubscriptionDoc = Leased & {
  _id: string;
  tenantId: string;
  name: string;
  sink: string;
  /** Checked by the sink's own schema. Never a secret. */
  settings: Record<string, unknown>;
  filter: SubscriptionFilter;
  /** Newest first. */
  secrets: SubscriptionSecret[];
  /** `disabled`: the consumer asked for it (410), or the sink gave up for good; a person resumes it. */
  state: 'active' | 'paused' | 'disabled';
  /** Every entry up to this `seq` has been told, or has a delivery of its own that is still to be told. */
  cursor: number;
  /** Entries up to this `seq` are to be told. Only grows. */
  wantedSeq: number;
  /** When its lane has something to do next; absent: nothing. */
  dueAt?: Date;
  /** Attempts that failed in a row; 0 after a success. From `OPEN_AFTER` on only one is tried at a time. */
  failures: number;
  lastError: { reason: string; status: number | null; at: Date } | null;
  /** The consumer is left alone until then; null: it takes what comes. */
  notBefore: Date | null;
  /** How often it was asked to tell entries again; makes what it then tells distinct where that matters. */
  replays: number;
  createdAt: Date;
  updatedAt: Date;
};

export const INDEXES: Indexes = [
  { key: { tenantId: 1, _id: 1 } },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<SubscriptionDoc> = {
  'secrets.sealed': (doc) =>
    doc.secrets.flatMap(({ sealed, generation }, index) => at(`secrets.${index}.sealed`, sealed, doc._id, generation)),
};
