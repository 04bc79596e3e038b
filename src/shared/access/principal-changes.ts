/** What is done with API keys. Each change commits with its entry (promise 6). */
import { AppError } from '../platform/errors.ts';
import type { Secret } from '../platform/secret.ts';
import type { Deps } from '../runtime/deps.ts';
import { findPrincipal, type PrincipalDoc } from '../store/access/principals.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { makeEntry } from '../store/entry.ts';
import { makePrincipal, type NewPrincipal } from './api-keys.ts';
import { requireGrantable } from './permissions.ts';
import { makeSigningSecret } from './signing-secret.ts';

type ChangeDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit' | 'sealer'>;

/** Who asks. What they ask for stays in their tenant. */
export type PrincipalCall = { caller: PrincipalDoc; actor: Entry['actor'] };

/** `signingSecret`: null unless one was made. It is to be shown now: nobody can show it again. */
type Changed = { principal: PrincipalDoc; signingSecret: Secret | null };

/** Makes an API key, which nobody can show again. Throws `permission_denied` when it could do more than the caller. */
export async function createPrincipal(
  deps: ChangeDeps,
  { caller, actor }: PrincipalCall,
  { requireSignature, ...wanted }: Omit<NewPrincipal, 'tenantId'> & { requireSignature: boolean },
): Promise<Changed & { key: string }> {
  const { name, permissions, expiresAt } = wanted;
  requireGrantable(caller, permissions);
  const { tenantId } = caller;
  const { principal: unsigned, key } = makePrincipal(deps, { tenantId, name, permissions, expiresAt });
  const { signing, signingSecret } = await signingOf(deps, unsigned, requireSignature);
  const principal = { ...unsigned, signing };
  const detail = { principalId: principal._id, permissions: permissions.join(' ') };
  await deps.commit({
    operations: [{ in: 'principals', insert: principal }],
    entries: [makeEntry(deps, { tenantId, type: 'principal.created', actor, detail })],
  });
  return { principal, signingSecret, key };
}

/**
 * Changes whether requests of a key must be signed; where they must, it gets a new signing secret. Throws `not_found`,
 * `permission_denied`, and `conflict` when the key is revoked.
 */
export async function changeSigning(
  deps: ChangeDeps,
  { caller, actor }: PrincipalCall,
  { id, requireSignature }: { id: string; requireSignature: boolean },
): Promise<Changed> {
  const { tenantId } = caller;
  const doc = await existing(deps, tenantId, id);
  // With the new signing secret the caller could act as this key, so it must not be able to do more than the caller.
  requireGrantable(caller, doc.permissions);
  const { signing, signingSecret } = await signingOf(deps, doc, requireSignature);
  const detail = { principalId: id, requireSignature };
  const outcome = await deps.commit({
    operations: [{ in: 'principals', update: { _id: id, tenantId, revokedAt: null }, set: { $set: { signing } } }],
    entries: [makeEntry(deps, { tenantId, type: 'principal.changed', actor, detail })],
  });
  if (outcome !== 'committed') throw new AppError('conflict', { detail: 'The key was revoked.' });
  return { principal: { ...doc, signing }, signingSecret };
}

/** Revokes a key; one that is revoked already stays as it is. Throws `not_found`. */
export async function revokePrincipal(
  deps: ChangeDeps,
  { caller: { tenantId }, actor }: PrincipalCall,
  id: string,
): Promise<PrincipalDoc> {
  const doc = await existing(deps, tenantId, id);
  if (doc.revokedAt) return doc;
  const revokedAt = new Date(deps.clock.now());
  const detail = { principalId: id };
  await deps.commit({
    operations: [{ in: 'principals', update: { _id: id, tenantId, revokedAt: null }, set: { $set: { revokedAt } } }],
    entries: [makeEntry(deps, { tenantId, type: 'principal.revoked', actor, detail })],
  });
  // Of two that revoke at once one is first; both answer with its time.
  return (await findPrincipal(deps.database, { tenantId, id })) ?? doc;
}

async function existing({ database }: ChangeDeps, tenantId: string, id: string): Promise<PrincipalDoc> {
  const doc = await findPrincipal(database, { tenantId, id });
  if (!doc) throw new AppError('not_found');
  return doc;
}

async function signingOf(deps: ChangeDeps, principal: PrincipalDoc, isRequired: boolean) {
  if (!isRequired) return { signing: null, signingSecret: null };
  const { secret, signing } = await makeSigningSecret(deps, principal);
  return { signing, signingSecret: secret };
}
