/** What lies in MongoDB about who is told, and about the signed heads of the log. */
import type { StoredSecret } from '../sealing/contract.ts';
import type { Entry, Leased } from './documents.ts';

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

export type DeliveryStatus = 'delivered' | 'retrying' | 'parked';

/** How the telling of one entry to one subscription stands. */
export type DeliveryDoc = {
  _id: string;
  tenantId: string;
  subscriptionId: string;
  seq: number;
  entryId: string;
  type: string;
  status: DeliveryStatus;
  attempts: number;
  lastError: { reason: string; status: number | null } | null;
  firstAttemptAt: Date;
  lastAttemptAt: Date;
  /** Absent unless `retrying`. */
  nextAttemptAt?: Date;
  /** When the record of a success is dropped; what was not delivered has none and stays. */
  expireAt?: Date;
};

/** A signed head of a tenant's log. `_id` is `<tenantId>:<seq>`. */
export type CheckpointDoc = {
  _id: string;
  tenantId: string;
  seq: number;
  /** Of the entry with that `seq`, hex. */
  hash: string;
  /** C2SP signed note. */
  note: string;
  /** Of the signing key. */
  kid: string;
  at: Date;
};

/** `intake`: others encrypt to it. */
export type SigningUse = 'checkpoint' | 'set' | 'intake';

/** A key pair of ours. The private half is sealed; the public half is published until the document is deleted. */
export type SigningKeyDoc = {
  /** The key id in the JWKS: its RFC 7638 thumbprint. */
  _id: string;
  tenantId: string;
  use: SigningUse;
  alg: 'Ed25519' | 'RS256' | 'ECDH-ES+A256KW';
  publicJwk: Record<string, string>;
  /** The private JWK as JSON. */
  sealed: StoredSecret;
  /** One key of a use signs; those it replaced are `published` only. */
  state: 'active' | 'published';
  createdAt: Date;
};
