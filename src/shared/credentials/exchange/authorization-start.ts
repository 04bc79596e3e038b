import type { z } from 'zod';
import { AppError } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { PrincipalDoc } from '../../store/access/principals.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import { makeEntry } from '../../store/entry.ts';
import type { AuthorizationDoc } from '../../store/lifecycle/authorizations.ts';
import { FLOW_MS, hashOf } from './authorization-flow.ts';
import type { newAuthorizationSchema } from './authorization-schema.ts';

type StartDeps = Pick<Deps, 'clock' | 'random' | 'sealer' | 'providers' | 'commit'>;

type Wanted = z.output<typeof newAuthorizationSchema>;

/**
 * Begins the way of a person through a provider's consent, on behalf of a principal. Resolves to the state, a bearer value of
 * which only the hash is kept. Throws `unknown_service`, `provider_unsupported` where a service knows no consent,
 * `key_unavailable`, `store_unavailable`.
 */
export async function beginAuthorization(
  deps: StartDeps,
  { principal, actor }: { principal: Pick<PrincipalDoc, '_id' | 'tenantId'>; actor: Entry['actor'] },
  wanted: Wanted,
): Promise<{ state: string; expiresAt: Date }> {
  const { service, subject } = wanted;
  const provider = deps.providers.get(service);
  if (!provider.authorizationUrl) {
    throw new AppError('provider_unsupported', {
      detail: `${provider.displayName} has no authorization by a person; send credential.import.requested.`,
    });
  }
  const { state, authorization } = await draft(deps, principal, wanted, provider.defaultScopes);
  const happening = { tenantId: principal.tenantId, type: 'authorization.requested', actor, service, subject };
  await deps.commit({
    operations: [{ in: 'authorizations', insert: authorization }],
    entries: [makeEntry(deps, happening)],
  });
  return { state, expiresAt: authorization.expiresAt };
}

/** A new flow and its state. */
async function draft(
  { clock, random, sealer }: StartDeps,
  { _id: principalId, tenantId }: Pick<PrincipalDoc, '_id' | 'tenantId'>,
  { service, subject, scopes, resource, redirectUri }: Wanted,
  defaultScopes: readonly string[],
): Promise<{ state: string; authorization: AuthorizationDoc }> {
  const state = random.bytes(32).toString('base64url');
  const _id = hashOf(state);
  const owner = { tenantId, objectId: _id, generation: 1 };
  const sealed = await sealer.seal(random.bytes(32).toString('base64url'), owner);
  const now = clock.now();
  const authorization: AuthorizationDoc = {
    _id,
    tenantId,
    principalId,
    service,
    subject,
    scopes: scopes ?? [...defaultScopes],
    resource: resource ?? null,
    returnTo: redirectUri ?? null,
    // Short-lived, so always beside the document, whatever store keeps credentials.
    codeVerifier: { store: 'mongodb', ...sealed },
    browserHash: null,
    usedAt: null,
    eventId: null,
    createdAt: new Date(now),
    expiresAt: new Date(now + FLOW_MS),
  };
  return { state, authorization };
}
