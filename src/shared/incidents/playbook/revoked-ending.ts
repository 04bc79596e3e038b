/** What takes the place of a secret that was revoked: a new consent, or a new token by the client's own credentials. */

import { transit } from '../../credentials/lifecycle.ts';
import type { IncidentDoc } from '../../store/compromise/incidents.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import type { Beside } from '../case-file.ts';
import { fileRequest } from './incident-requests.ts';

/** How a playbook ends. `fingerprints`: of the tokens that are dead now; a late alert about one finds the incident. */
export type Ending = { outcome: string; beside: Beside; fingerprints: string[] };

/**
 * The end for a credential whose secret is dead at the provider. It leaves the quarantine for a state that only a new
 * secret ends, and what the old one's fingerprints would find is the incident from now on.
 */
export async function endOf(deps: WorkerDeps, incident: IncidentDoc, doc: CredentialDoc): Promise<Ending> {
  const { service, subject, scopes, resource, fingerprints } = doc;
  if (doc.kind === 'client_credentials') {
    const grant = { service, subject, grantType: 'client_credentials', scopes, ...(resource && { resource }) };
    await fileRequest(deps, incident, 'credential.exchange.requested', grant);
  }
  const outcome = doc.kind === 'client_credentials' ? 'asked_for_a_new_token' : 'asked_for_a_new_consent';
  const { state, entry } = transit('require_reauthorization', doc.state);
  const at = new Date(deps.clock.now());
  const set = {
    state,
    due: {},
    claimed: {},
    fingerprints: [],
    // Nothing that a dead worker left behind may bring it back to life.
    lastError: null,
    updatedAt: at,
  };
  const beside = {
    operations: [
      {
        in: 'credentials' as const,
        update: { ...asRead(doc), state: doc.state },
        set: { $set: set },
      },
    ],
    entries: [
      makeEntry(deps, {
        ...aboutCredential(doc),
        type: entry,
        actor: { kind: 'worker', id: deps.workerId },
        incidentId: incident._id,
        reason: 'compromise',
        detail: { kind: doc.kind },
      }),
    ],
  };
  return { outcome, beside, fingerprints };
}
