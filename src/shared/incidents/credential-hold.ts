/** How an incident holds a credential: in quarantine, with a block that names the incident. */
import type { IncidentDoc } from '../store/compromise/incidents.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';

/** The reason that stands on a credential which is blocked for this incident. */
export function blockOf({ _id }: Pick<IncidentDoc, '_id'>): string {
  return `incident ${_id}`;
}

/** Whether this incident holds the credential: no other, no person and no new consent took it over. */
export function isHeldFor(incident: Pick<IncidentDoc, '_id'>, { state, blocked }: CredentialDoc): boolean {
  return state === 'quarantined' && blocked?.reason === blockOf(incident);
}
