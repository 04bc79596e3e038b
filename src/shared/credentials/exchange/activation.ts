/** A credential comes to life: made, or given a new secret after a new consent. */

import { settled } from '../../events/settling.ts';
import { AppError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Change, Operation } from '../../store/commit.ts';
import { type CredentialDoc, type CredentialKind, findLivingCredential } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import { credentialChange } from '../change.ts';
import { type Generation, generationDue, generationFields } from '../secret-generation.ts';

/** The fields of a credential that the event which brings it to life determines. */
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
  const existing = await findLivingCredential(deps.database, { tenantId: event.tenantId, service, subject });
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
  const { kind, issuer, resource, policy } = birth;
  const activated = credentialChange(deps, doc, {
    transition: 'activate',
    set: { ...generationFields(next), kind, issuer, resource, policy, lease: null },
    due: generationDue(next),
    ...(isNew ? { isNew } : { expect: asRead(doc) }),
    actor: { kind: 'principal', id: event.principalId, ...event.origin },
    eventId: event._id,
    detail: { generation: next.generation, cause: event.type, kind },
  });
  const done = settled(deps, null);
  const settling: Operation = {
    in: 'events',
    update: { _id: event._id, tenantId: event.tenantId, fence: event.fence },
    set: { ...done, $set: { ...done.$set, credentialId: doc._id } },
  };
  return { operations: [...activated.operations, settling], entries: activated.entries };
}

/** An existing credential is held by another worker: come back soon. */
export function busy(): AppError {
  return new AppError('interrupted', { retryAfterMs: 500, internal: 'the credential is held by another worker' });
}
