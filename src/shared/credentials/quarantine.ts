/**
 * Stopping the release of a credential, the first act on a leak (promise 8), and bringing it back. None of it needs a lease: a
 * worker that holds the credential goes on, and the state stops the release in every process with the next read.
 */

import { type Action, requirePermission } from '../access/permissions.ts';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Change } from '../store/commit.ts';
import { type CredentialDoc, findCredential } from '../store/lifecycle/credentials.ts';
import { credentialChange } from './change.ts';
import { allows } from './lifecycle.ts';

type QuarantineDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit'>;

export type Quarantine = {
  /** Shown to callers that ask for the token, e.g. `incident inc_…`. A person cannot restore it while this stands. */
  reason: string;
  actor: Entry['actor'];
  eventId?: string | null;
  incidentId?: string | null;
};

const MAX_ATTEMPTS = 5;

/**
 * The change that stops the release because of a compromise; null when there is nothing to stop: the credential is revoked,
 * destroyed, or has no secret yet. One that is in quarantine gets the new reason, and no entry: the change must commit with one.
 */
export function quarantineChange(
  deps: Pick<Deps, 'clock' | 'random'>,
  doc: CredentialDoc,
  { reason, ...told }: Quarantine,
): Change | null {
  const transition = doc.state === 'quarantined' ? 'block' : 'quarantine';
  if (!allows(transition, doc.state)) return null;
  return credentialChange(deps, doc, { transition, block: reason, reason: 'compromise', ...told });
}

/**
 * Quarantines a credential that is not in quarantine already. Resolves to whether it was this call that stopped it. Throws
 * `conflict` when it keeps changing, `store_unavailable`.
 */
export async function blockRelease(
  deps: QuarantineDeps,
  { tenantId, credentialId }: { tenantId: string; credentialId: string },
  quarantine: Quarantine,
): Promise<boolean> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const doc = await findCredential(deps.database, { tenantId, id: credentialId });
    const change = doc && allows('quarantine', doc.state) ? quarantineChange(deps, doc, quarantine) : null;
    if (!change) return false;
    if ((await deps.commit(change)) === 'committed') return true;
  }
  throw new AppError('conflict', { internal: 'a credential to be blocked keeps changing' });
}

/** What a person may ask for. The action that the permission names is the transition. */
type ByPerson = 'quarantine' | 'restore';

/** `reason`: in the person's own words, for the entry. */
export type PersonCall = { principal: PrincipalDoc; actor: Entry['actor']; reason: string | null };

/**
 * Quarantines or restores a credential for a person and resolves to it as it is then. Throws `not_found`, `permission_denied`,
 * `transition_refused` (also while an incident or a revocation blocks it), `conflict` when it keeps changing.
 */
export async function quarantineOrRestore(
  deps: QuarantineDeps,
  { principal, actor, reason }: PersonCall,
  transition: ByPerson & Action,
  id: string,
): Promise<CredentialDoc> {
  const ref = { tenantId: principal.tenantId, id };
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const doc = await findCredential(deps.database, ref);
    if (!doc) throw new AppError('not_found');
    requirePermission(principal, doc.service, transition);
    const change = personChange(deps, doc, { transition, actor, said: reason });
    if ((await deps.commit(change)) === 'committed') return (await findCredential(deps.database, ref)) ?? doc;
  }
  throw new AppError('conflict', { detail: 'The credential keeps changing; try again.' });
}

function personChange(
  deps: QuarantineDeps,
  doc: CredentialDoc,
  { transition, actor, said }: { transition: ByPerson; actor: Entry['actor']; said: string | null },
): Change {
  const restores = transition === 'restore';
  const change = credentialChange(deps, doc, {
    transition,
    actor,
    detail: { said },
    ...(restores && { expect: { blocked: null } }),
  });
  if (restores && doc.blocked) {
    throw new AppError('transition_refused', { detail: `It is blocked: ${doc.blocked.reason}.` });
  }
  return change;
}
