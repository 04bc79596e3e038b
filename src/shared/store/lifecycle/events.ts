/** `events`: what was accepted, until it is settled and after. */
import type { ErrorCode } from '../../platform/errors.ts';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import { type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased, Origin } from '../base/document.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

export type EventStatus = 'accepted' | 'processing' | 'succeeded' | 'failed' | 'parked';

export type EventDoc = Leased & {
  _id: string;
  tenantId: string;
  /** CloudEvents `source` and `id`: together they identify a duplicate (CloudEvents 1.0 §3.1.1). */
  source: string;
  sourceId: string;
  type: string;
  subject: string | null;
  time: Date | null;
  /** The checked data. Fields that are secret are in `sealed` instead. */
  data: Record<string, unknown>;
  /** The secret fields as one sealed JSON object, bound to this event (generation 1). */
  sealed: StoredSecret | null;
  principalId: string;
  origin: Origin;
  status: EventStatus;
  attempts: number;
  /** When work on it is next due; absent once settled. */
  dueAt?: Date;
  problem: { code: ErrorCode; detail: string } | null;
  credentialId: string | null;
  /** W3C traceparent of the request that brought it. */
  traceparent: string | null;
  receivedAt: Date;
  settledAt: Date | null;
};

export const INDEXES: Indexes = [
  // A duplicate (CloudEvents 1.0 §3.1.1).
  { key: { tenantId: 1, source: 1, sourceId: 1 }, unique: true },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
  // The parked ones of a tenant, and how many wait.
  { key: { tenantId: 1, status: 1, _id: 1 } },
  // What a rotation of keys walks through.
  { key: { tenantId: 1, _id: 1 } },
];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<EventDoc> = { sealed: (doc) => at('sealed', doc.sealed, doc._id) };
