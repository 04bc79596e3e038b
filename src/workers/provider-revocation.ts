/** Ending a secret where it is accepted. */
import type { Deps } from '../shared/deps.ts';
import { openMaterial } from '../shared/material.ts';
import type { Verdict } from '../shared/providers/contract.ts';
import type { CredentialDoc } from '../shared/store/documents.ts';

type RevocationDeps = Pick<Deps, 'providers' | 'vault' | 'secrets'>;

export type ToldProvider = 'revoked' | 'unsupported' | 'nothing_to_revoke';

/** Revokes the present secret (RFC 7009). May be done again. Throws `provider_*`, `interrupted`. */
export async function revokeAtProvider(
  deps: RevocationDeps,
  doc: CredentialDoc,
  signal: AbortSignal,
): Promise<ToldProvider> {
  const provider = deps.providers.get(doc.service);
  if (!doc.secret) return 'nothing_to_revoke';
  const material = await openMaterial(deps, doc);
  if (!provider.revoke) return 'unsupported';
  await provider.revoke(material, { signal });
  return 'revoked';
}

/** What the provider says of it afterwards: its 200 is no proof (RFC 7009 §2.2). Never throws. */
export async function verdictOf(deps: RevocationDeps, doc: CredentialDoc, signal: AbortSignal): Promise<Verdict> {
  try {
    const provider = deps.providers.get(doc.service);
    const material = await openMaterial(deps, doc);
    return (await provider.probe?.(material, { signal })) ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
