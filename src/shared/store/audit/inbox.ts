/** `audit_inbox`: entries that committed with their change and wait for their place in the chain. */
import type { Indexes } from '../base/collection.ts';
import type { Origin } from '../base/document.ts';

export type ActorKind = 'principal' | 'worker' | 'subject' | 'system';

/** One record of the audit log, as committed with the change it tells of. */
export type Entry = {
  _id: string;
  tenantId: string;
  at: Date;
  /** Past tense: `credential.refreshed`. */
  type: string;
  actor: { kind: ActorKind; id: string } & Partial<Origin>;
  outcome: 'success' | 'failure' | 'denied';
  credentialId: string | null;
  service: string | null;
  subject: string | null;
  eventId: string | null;
  incidentId: string | null;
  /** Stable code of what went wrong, or of why. */
  reason: string | null;
  detail: Record<string, string | number | boolean | null>;
};

export const INDEXES: Indexes = [{ key: { tenantId: 1, _id: 1 } }];
