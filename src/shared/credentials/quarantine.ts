/**
 * Stopping the release of a credential: the first act on a leak (promise 8). It needs no lease: what a worker does with the
 * credential at the same time goes on, and the state stops the release in every process with the next read.
 */

import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Change } from '../store/commit.ts';
import { aboutCredential, makeEntry } from '../store/entry.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';
import { allows, transit } from './lifecycle.ts';

export type Quarantine = {
  /** Shown to whoever asks for the token, e.g. `incident inc_…`. */
  reason: string;
  actor: Entry['actor'];
  eventId?: string | null;
  incidentId?: string | null;
};

const ATTEMPTS = 5;

/**
 * The change that blocks a credential, under compare-and-set on the state that was read; null when there is nothing to
 * stop: it is revoked, destroyed, or has no secret yet. One that is in quarantine gets the new reason.
 */
export function quarantineChange(
  deps: Pick<Deps, 'clock' | 'random'>,
  doc: Pick<CredentialDoc, '_id' | 'tenantId' | 'service' | 'subject' | 'state'>,
  { reason, actor, eventId = null, incidentId = null }: Quarantine,
): Change | null {
  const enters = allows('quarantine', doc.state);
  if (!enters && doc.state !== 'quarantined') return null;
  const at = new Date(deps.clock.now());
  const set = { state: 'quarantined' as const, blocked: { reason, at }, updatedAt: at };
  const entry = () =>
    makeEntry(deps, {
      ...aboutCredential(doc),
      type: transit('quarantine', doc.state).entry,
      actor,
      eventId,
      incidentId,
      reason: 'compromise',
      detail: { from: doc.state },
    });
  return {
    operations: [
      {
        in: 'credentials',
        update: { _id: doc._id, tenantId: doc.tenantId, state: doc.state },
        set: { $set: set, $unset: { 'due.refresh': '' } },
      },
    ],
    entries: enters ? [entry()] : [],
  };
}

/**
 * Blocks a credential that is released now; one that is in quarantine already is left as it is. Resolves to whether it
 * was this call that stopped it. Throws `conflict` when it keeps changing, `store_unavailable`.
 */
export async function blockRelease(
  deps: Pick<Deps, 'clock' | 'random' | 'database' | 'commit'>,
  ref: { tenantId: string; credentialId: string },
  quarantine: Quarantine,
): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const doc = await deps.database
      .collection('credentials')
      .findOne({ _id: ref.credentialId, tenantId: ref.tenantId });
    const change = doc && allows('quarantine', doc.state) ? quarantineChange(deps, doc, quarantine) : null;
    if (!change) return false;
    if ((await deps.commit(change)) === 'committed') return true;
  }
  throw new AppError('conflict', { internal: 'a credential to be blocked keeps changing' });
}
