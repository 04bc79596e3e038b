/** A credential comes to life: made, or given a new secret after a new consent. */

import { settled } from '../../events/settling.ts';
import { AppError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Change } from '../../store/commit.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import { RELEASED } from '../../store/lease.ts';
import type { CredentialDoc, CredentialKind } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import { transit } from '../lifecycle.ts';
import { type Generation, generationFields, generationUpdate } from '../secret-generation.ts';

/** What an event says of the credential that it brings to life. */
export type Birth = {
  service: string;
  subject: string;
  kind: CredentialKind;
  issuer: string | null;
  resource: string | null;
  policy: CredentialDoc['policy'];
};

/** The credential to write to: the living one of the same tenant, service and subject, or a new one. */
export async function findOrDraft(
  deps: Pick<WorkerDeps, 'database' | 'clock' | 'random'>,
  event: Pick<EventDoc, 'tenantId'>,
  birth: Birth,
): Promise<{ doc: CredentialDoc; isNew: boolean }> {
  const { service, subject } = birth;
  const existing = await deps.database
    .collection('credentials')
    .findOne({ tenantId: event.tenantId, service, subject, state: { $ne: 'destroyed' } });
  return existing ? { doc: existing, isNew: false } : { doc: draft(deps, event.tenantId, birth), isNew: true };
}

function draft(deps: Pick<WorkerDeps, 'clock' | 'random'>, tenantId: string, birth: Birth): CredentialDoc {
  const now = new Date(deps.clock.now());
  return {
    _id: newId('credential', deps),
    tenantId,
    ...birth,
    state: 'pending',
    generation: 0,
    secret: null,
    fingerprints: [],
    scopes: [],
    tokenType: 'Bearer',
    expiresAt: null,
    refreshExpiresAt: null,
    hasRefreshToken: false,
    metadata: {},
    due: {},
    claimed: {},
    failures: 0,
    lastError: null,
    blocked: null,
    rotation: null,
    createdAt: now,
    updatedAt: now,
    secretChangedAt: null,
    lastReleasedAt: null,
    fence: 0,
    lease: null,
    interrupted: null,
  };
}

type Activation = { event: EventDoc; doc: CredentialDoc; isNew: boolean; birth: Birth; next: Generation };

/** Credential, event and entry in one change. Throws `transition_refused`. */
export function activationChange(
  deps: Pick<WorkerDeps, 'clock' | 'random' | 'workerId'>,
  { event, doc, isNew, birth, next }: Activation,
): Change {
  const { state, entry } = transit('activate', doc.state);
  const done = settled(deps, null);
  const rotate = birth.policy.rotateEveryMs ? { rotate: new Date(next.at + birth.policy.rotateEveryMs) } : {};
  const about = { kind: birth.kind, issuer: birth.issuer, resource: birth.resource, policy: birth.policy };
  return {
    operations: [
      isNew
        ? {
            in: 'credentials',
            insert: { ...doc, ...about, ...generationFields(next), state, due: { ...datesOf(next), ...rotate } },
          }
        : {
            in: 'credentials',
            update: asRead(doc),
            set: generationUpdate(next, {
              ...about,
              ...RELEASED,
              state,
              blocked: null,
              ...(rotate.rotate && { 'due.rotate': rotate.rotate }),
            }),
          },
      {
        in: 'events',
        update: { _id: event._id, tenantId: event.tenantId, fence: event.fence },
        set: { ...done, $set: { ...done.$set, credentialId: doc._id } },
      },
    ],
    entries: [
      makeEntry(deps, {
        ...aboutCredential(doc),
        type: entry,
        actor: { kind: 'principal', id: event.principalId, ...event.origin },
        eventId: event._id,
        detail: { generation: next.generation, cause: event.type, kind: birth.kind },
      }),
    ],
  };
}

function datesOf(next: Generation) {
  const pairs = Object.entries(next.due).filter(([, at]) => at !== undefined);
  return Object.fromEntries(pairs.map(([what, at]) => [what, new Date(at as number)]));
}

/** An existing credential is held by another worker: come back soon. */
export function busy(): AppError {
  return new AppError('interrupted', { retryAfterMs: 500, internal: 'the credential is held by another worker' });
}
