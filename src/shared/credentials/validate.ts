/** Asks three sides about a secret: its form, its expiry, and the provider. Changes nothing. */

import { type Action, requirePermission } from '../access/permissions.ts';
import { openMaterial } from '../keys/material.ts';
import { AppError, toAppError } from '../platform/errors.ts';
import { toProblem } from '../platform/problem-schema.ts';
import { isoOrNull } from '../platform/time.ts';
import type { Provider, SecretMaterial, Verdict } from '../providers/contract.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { aboutCredential, makeEntry } from '../store/entry.ts';
import { type CredentialDoc, findCredential } from '../store/lifecycle/credentials.ts';
import type { Validation } from './view.ts';

type ValidateDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit' | 'sealer' | 'secrets' | 'providers'>;

export type ValidateCall = { principal: PrincipalDoc; actor: Entry['actor']; stopping: AbortSignal };

/** The action that a caller must be permitted on the credential's service. */
export const VALIDATE_ACTION = 'validate' satisfies Action;

type ProviderVerdict = Validation['provider']['accessToken'];

/**
 * Asks about one credential, in whatever state, and records that. A provider that cannot be asked is part of the answer.
 * Throws `not_found`, `permission_denied`, `credential_pending`, `credential_blocked` (destroyed), `secret_unreadable`.
 */
export async function validateCredential(
  deps: ValidateDeps,
  { principal, actor, stopping }: ValidateCall,
  id: string,
): Promise<Validation> {
  const doc = await findCredential(deps.database, { tenantId: principal.tenantId, id });
  if (!doc) throw new AppError('not_found');
  requirePermission(principal, doc.service, VALIDATE_ACTION);
  if (doc.state === 'destroyed') throw new AppError('credential_blocked', { detail: 'It was destroyed.' });
  const material = await openMaterial(deps, doc);
  const provider = deps.providers.get(doc.service);
  const [accessToken, refreshToken] = await Promise.all([
    said(provider.probe && (() => provider.probe!(material, { signal: stopping }))),
    askRefreshToken(provider, material, stopping),
  ]);
  const now = deps.clock.now();
  const validation: Validation = {
    credentialId: doc._id,
    generation: doc.generation,
    state: doc.state,
    checkedAt: new Date(now).toISOString(),
    format: { verdict: formatOf(provider, material) },
    expiry: {
      verdict: doc.expiresAt === null ? 'unknown' : doc.expiresAt.getTime() > now ? 'valid' : 'expired',
      expiresAt: isoOrNull(doc.expiresAt),
      refreshExpiresAt: isoOrNull(doc.refreshExpiresAt),
    },
    provider: { accessToken, refreshToken },
  };
  await record(deps, doc, actor, validation);
  return validation;
}

function formatOf(provider: Provider, { accessToken }: SecretMaterial): Validation['format']['verdict'] {
  const fits = provider.looksLikeToken?.(accessToken.reveal());
  return fits === undefined ? 'unknown' : fits ? 'valid' : 'invalid';
}

async function askRefreshToken(
  provider: Provider,
  { refreshToken }: SecretMaterial,
  signal: AbortSignal,
): Promise<ProviderVerdict | null> {
  if (!refreshToken) return null;
  const { introspectRefreshToken: introspect } = provider;
  return said(introspect && (() => introspect(refreshToken, { signal })));
}

/** `unknown` where the provider has no means to say. */
async function said(ask: (() => Promise<Verdict>) | undefined): Promise<ProviderVerdict> {
  try {
    return { verdict: (await ask?.()) ?? 'unknown' };
  } catch (error) {
    return { verdict: 'unavailable', problem: toProblem(toAppError(error)) };
  }
}

async function record(deps: ValidateDeps, doc: CredentialDoc, actor: Entry['actor'], said: Validation): Promise<void> {
  const entry = makeEntry(deps, {
    ...aboutCredential(doc),
    type: 'credential.validated',
    actor,
    detail: {
      generation: said.generation,
      format: said.format.verdict,
      expiry: said.expiry.verdict,
      accessToken: said.provider.accessToken.verdict,
      refreshToken: said.provider.refreshToken?.verdict ?? null,
    },
  });
  await deps.commit({ operations: [], entries: [entry] });
}
