import { requirePermission } from '../access/permissions.ts';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { aboutCredential, makeEntry } from '../store/entry.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';
import { isRenewable } from './freshness.ts';
import { transit } from './lifecycle.ts';

const ATTEMPTS = 3;

export type StateCall = { principal: PrincipalDoc; actor: Entry['actor']; reason: string | null };

/**
 * Quarantines or restores a credential; the state and its entry commit together (promise 6). What a worker does with it
 * at the same time fails on the state it expects. Throws `not_found`, `permission_denied`, `transition_refused`, and
 * `conflict` when it keeps changing.
 */
export async function changeState(
  deps: Pick<Deps, 'clock' | 'random' | 'database' | 'commit'>,
  { principal, actor, reason }: StateCall,
  transition: 'quarantine' | 'restore',
  id: string,
): Promise<CredentialDoc> {
  const credentials = deps.database.collection('credentials');
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const doc = await credentials.findOne({ _id: id, tenantId: principal.tenantId });
    if (!doc) throw new AppError('not_found');
    requirePermission(principal, doc.service, transition);
    const { state, entry } = transit(transition, doc.state);
    if (transition === 'restore' && doc.blocked) {
      throw new AppError('transition_refused', { detail: `It is blocked: ${doc.blocked.reason}.` });
    }
    const outcome = await deps.commit({
      operations: [
        {
          in: 'credentials',
          update: {
            _id: id,
            tenantId: doc.tenantId,
            state: doc.state,
            ...(transition === 'restore' && { blocked: null }),
          },
          set: stateUpdate(deps, doc, state),
        },
      ],
      entries: [
        makeEntry(deps, { ...aboutCredential(doc), type: entry, actor, detail: { from: doc.state, said: reason } }),
      ],
    });
    if (outcome === 'committed') return (await credentials.findOne({ _id: id, tenantId: doc.tenantId })) ?? doc;
  }
  throw new AppError('conflict', { detail: 'The credential keeps changing; try again.' });
}

/**
 * The update that puts a credential into quarantine or ends it. At rest it is not due; a restored one is looked after at
 * once, for its secret may have ended meanwhile.
 */
export function stateUpdate({ clock }: Pick<Deps, 'clock'>, doc: CredentialDoc, state: CredentialDoc['state']) {
  const now = new Date(clock.now());
  const set = { state, updatedAt: now };
  if (state !== 'active') return { $set: set, $unset: { 'due.refresh': 1, 'due.expire': 1, 'due.validate': 1 } };
  return { $set: { ...set, blocked: null, ...dueAfterRest(doc, now) } };
}

function dueAfterRest(doc: CredentialDoc, now: Date) {
  if (isRenewable(doc)) return { 'due.refresh': now };
  return doc.expiresAt === null ? { 'due.validate': now } : { 'due.expire': doc.expiresAt };
}
