/** Ending a secret where it is accepted. */
import { openMaterial } from '../../keys/material.ts';
import type { Verdict } from '../../providers/contract.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { makeCall } from '../rotation/rotator-call.ts';
import { findRotator, loadRotators } from '../rotation/rotators/catalogue.ts';

export type ToldProvider = 'revoked' | 'unsupported' | 'nothing_to_revoke';

/**
 * Revokes the present secret: where a rotator made it, by that, else by the provider (RFC 7009). May be done again.
 * Throws `provider_*`, `interrupted`.
 */
export async function revokeAtProvider(
  deps: WorkerDeps,
  doc: CredentialDoc,
  signal: AbortSignal,
): Promise<ToldProvider> {
  const provider = deps.providers.get(doc.service);
  if (!doc.secret) return 'nothing_to_revoke';
  const rotator = findRotator(await loadRotators(), doc);
  if (rotator) {
    const call = await makeCall(deps, doc, signal);
    if (call.current) await rotator.retire(call, call.current);
    return 'revoked';
  }
  const material = await openMaterial(deps, doc);
  if (!provider.revoke) return 'unsupported';
  await provider.revoke(material, { signal });
  return 'revoked';
}

/** The provider's word on the secret afterwards: its 200 is no proof (RFC 7009 §2.2). Never throws. */
export async function verdictOf(deps: WorkerDeps, doc: CredentialDoc, signal: AbortSignal): Promise<Verdict> {
  try {
    const rotator = findRotator(await loadRotators(), doc);
    if (rotator) {
      const call = await makeCall(deps, doc, signal);
      return call.current && (await rotator.verify(call, call.current)) ? 'active' : 'inactive';
    }
    const provider = deps.providers.get(doc.service);
    const material = await openMaterial(deps, doc);
    return (await provider.probe?.(material, { signal })) ?? 'unknown';
  } catch {
    return 'unknown';
  }
}
