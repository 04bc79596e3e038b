/** The playbook for a credential that a rotator takes: the rotation ends the leaked secret and brings the new one. */

import { credentialChange } from '../../credentials/change.ts';
import { isFulfilled } from '../../credentials/rotation/requests.ts';
import { secretDue } from '../../credentials/schedule.ts';
import { AppError } from '../../platform/errors.ts';
import type { IncidentDoc } from '../../store/compromise/incidents.ts';
import { type CredentialDoc, findCredential } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { Beside } from '../case-file.ts';
import { fileRequest } from './incident-requests.ts';
import { recordContained, recordStep, recordWait } from './record.ts';

const LOOK_AGAIN_MS = 250;

/**
 * Asks for a rotation without overlap and waits until it has retired the old secret; then the credential is released
 * again, with the new one. Throws `interrupted` while the rotation is under way: the incident is looked at again.
 */
export async function rotateAway(deps: WorkerDeps, incident: IncidentDoc, signal: AbortSignal): Promise<void> {
  const { credentialId, tenantId } = incident;
  const data = { credentialId, reason: 'compromise', overlapSeconds: 0 };
  const event = await fileRequest(deps, incident, 'credential.rotation.requested', data);
  const doc = await findCredential(deps.database, { tenantId, id: credentialId as string });
  if (!doc) throw new AppError('not_found');
  if (!isOver(doc, event)) {
    if (event.status === 'failed' || event.status === 'parked') {
      await recordWait(deps, incident, 'provider_cannot_revoke', signal);
      return;
    }
    throw new AppError('interrupted', { retryAfterMs: LOOK_AGAIN_MS, internal: 'the rotation is under way' });
  }
  let current = incident;
  for (const name of ['revoked_at_provider', 'revocation_confirmed'] as const) {
    if (current.steps.some((step) => step.name === name)) continue;
    current = await recordStep(deps, current, { name, outcome: 'retired_by_rotation' }, signal);
  }
  const own = doc.hasRefreshToken ? 2 : 1;
  const done = {
    name: 'replacement_requested' as const,
    outcome: 'rotated',
    beside: released(deps, current, doc, own),
  };
  await recordContained(deps, current, done, { set: { fingerprints: doc.fingerprints.slice(own) }, signal });
}

/** The new secret is promoted, and the old one is retired. */
function isOver(doc: CredentialDoc, event: EventDoc): boolean {
  return isFulfilled(doc, event) && doc.rotation === null;
}

/** Restores the credential. `own`: how many fingerprints are of the new secret; the old one's find the incident from now on. */
function released(deps: WorkerDeps, incident: IncidentDoc, doc: CredentialDoc, own: number): Beside {
  const [expiresAt, refreshExpiresAt] = [doc.expiresAt?.getTime() ?? null, doc.refreshExpiresAt?.getTime() ?? null];
  return credentialChange(deps, doc, {
    transition: 'restore',
    set: { fingerprints: doc.fingerprints.slice(0, own) },
    // The secret is new and was verified: it need not be looked at before its time.
    due: secretDue(deps, deps.providers.get(doc.service), { ...doc, expiresAt, refreshExpiresAt }),
    expect: { generation: doc.generation },
    actor: { kind: 'worker', id: deps.workerId },
    incidentId: incident._id,
    reason: 'rotated',
  });
}
