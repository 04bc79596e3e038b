/** The addresses that alerts are sent to, and the check of what comes there. */
import { AppError } from '../../platform/errors.ts';
import { Secret } from '../../platform/secret.ts';
import type { Deps } from '../../runtime/deps.ts';
import { type AlertSourceDoc, findAlertSourceById } from '../../store/compromise/alert-sources.ts';
import type { AlertDelivery, AlertSource, VerifiedDelivery } from './sources/contract.ts';

/** The alert source of one tenant, by its address. Throws `not_found`, also when it is closed or is of another kind. */
export async function findAddress(
  { database }: Pick<Deps, 'database'>,
  { source, id }: { source: string; id: string },
): Promise<AlertSourceDoc> {
  const doc = await findAlertSourceById(database, id);
  if (!doc || doc.source !== source || doc.revokedAt) throw new AppError('not_found');
  return doc;
}

/**
 * Checks a delivery by its own signature. `doc` null: it came to the one address for all tenants, where the party signs with a
 * key that it publishes. Throws the refusals of the source, `not_found` where there is no such address, `key_unavailable`.
 */
export async function verifyDelivery(
  deps: Pick<Deps, 'sealer'>,
  source: AlertSource,
  doc: AlertSourceDoc | null,
  delivery: AlertDelivery,
): Promise<VerifiedDelivery> {
  if (doc === null) {
    if (!source.verifyShared) throw new AppError('not_found');
    return source.verifyShared(delivery);
  }
  const context = { tenantId: doc.tenantId, objectId: doc._id, generation: 1 };
  const secret = new Secret(await deps.sealer.open(doc.secret.jwe!, context));
  return source.verify(delivery, [secret]);
}
