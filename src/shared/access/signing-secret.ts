/** The secret that a principal signs its requests and its jobs with, by the Standard Webhooks scheme. */

import { Secret } from '../platform/secret.ts';
import { newWebhookSecret } from '../platform/standard-webhooks.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';

type Owner = Pick<PrincipalDoc, '_id' | 'tenantId'>;

/** What it is sealed for: the principal, whatever its number. */
const contextOf = ({ _id, tenantId }: Owner) => ({ tenantId, objectId: _id, generation: 1 });

/** A new secret, and its sealed form for the principal's document. Throws `key_unavailable`. */
export async function makeSigningSecret(deps: Pick<Deps, 'sealer' | 'random'>, owner: Owner) {
  const secret = newWebhookSecret(deps.random);
  const sealed = await deps.sealer.seal(secret.reveal(), contextOf(owner));
  return { secret, signing: { store: 'mongodb', ...sealed } };
}

/** The secret of a principal; null when it has none. Throws `key_unavailable`, `secret_unreadable`. */
export async function openSigningSecret(
  deps: Pick<Deps, 'sealer'>,
  principal: Owner & Pick<PrincipalDoc, 'signing'>,
): Promise<Secret | null> {
  if (!principal.signing) return null;
  return new Secret(await deps.sealer.open(principal.signing.jwe as string, contextOf(principal)));
}
