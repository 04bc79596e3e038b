import type { Clock } from '../platform/clock.ts';
import { newId } from '../platform/ids.ts';
import type { Random } from '../platform/random.ts';
import type { Entry } from './audit/inbox.ts';
import type { CredentialDoc } from './lifecycle/credentials.ts';

/** What a caller says of what happened; everything that is left out is null, and the outcome a success. */
export type Happening = Pick<Entry, 'tenantId' | 'type' | 'actor'> & Partial<Omit<Entry, '_id' | 'at'>>;

/** An entry of the audit log. It becomes durable with the change that it is committed with. Never holds a secret. */
export function makeEntry(
  deps: { clock: Pick<Clock, 'now'>; random: Pick<Random, 'bytes'> },
  happening: Happening,
): Entry {
  return {
    _id: newId('entry', deps),
    at: new Date(deps.clock.now()),
    outcome: 'success',
    credentialId: null,
    service: null,
    subject: null,
    eventId: null,
    incidentId: null,
    reason: null,
    detail: {},
    ...happening,
  };
}

/** The parts of an entry that a credential determines. */
export function aboutCredential(doc: Pick<CredentialDoc, '_id' | 'tenantId' | 'service' | 'subject'>) {
  return { tenantId: doc.tenantId, credentialId: doc._id, service: doc.service, subject: doc.subject };
}
