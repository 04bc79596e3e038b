/** Another takes the place of a revoked secret: by a new consent, or a new token by the client's own credentials. */

import { credentialChange } from '../../credentials/change.ts';
import type { IncidentDoc } from '../../store/compromise/incidents.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import type { Beside } from '../case-file.ts';
import { fileRequest } from './incident-requests.ts';

/** How a playbook ends. `fingerprints`: of the tokens that are dead now; a late alert about one finds the incident. */
export type Ending = { outcome: string; beside: Beside; fingerprints: string[] };

/**
 * The end for a credential whose secret is dead at the provider. It leaves the quarantine for a state that only a new secret
 * ends. From now on the old one's fingerprints find the incident, not the credential.
 */
export async function endOf(deps: WorkerDeps, incident: IncidentDoc, doc: CredentialDoc): Promise<Ending> {
  const { service, subject, scopes, resource, fingerprints } = doc;
  if (doc.kind === 'client_credentials') {
    const grant = { service, subject, grantType: 'client_credentials', scopes, ...(resource && { resource }) };
    await fileRequest(deps, incident, 'credential.exchange.requested', grant);
  }
  const outcome = doc.kind === 'client_credentials' ? 'asked_for_a_new_token' : 'asked_for_a_new_consent';
  const beside = credentialChange(deps, doc, {
    transition: 'require_reauthorization',
    // Without `lastError` no answer that a dead worker left in its journal recovers it.
    set: { fingerprints: [], lastError: null },
    expect: asRead(doc),
    actor: { kind: 'worker', id: deps.workerId },
    incidentId: incident._id,
    reason: 'compromise',
    detail: { kind: doc.kind },
  });
  return { outcome, beside, fingerprints };
}
