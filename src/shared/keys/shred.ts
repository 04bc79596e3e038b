/** Crypto-shredding: without its data keys nothing that a tenant sealed opens any more, wherever a copy lies. */

import { AppError, toAppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { dataKeyId } from '../sealing/data-keys.ts';
import type { DataKeyPurpose } from '../sealing/key-providers/contract.ts';
import { revokePrincipals } from '../store/access/principals.ts';
import { findTenant, type TenantDoc } from '../store/access/tenants.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Operation } from '../store/commit.ts';
import { revokeAlertSources } from '../store/compromise/alert-sources.ts';
import { clearIncidentDueDates } from '../store/compromise/incidents.ts';
import { disableSubscriptions } from '../store/delivery/subscriptions.ts';
import { makeEntry } from '../store/entry.ts';
import { listDataKeys } from '../store/keys/data-keys.ts';
import { listOpenKeyRotations } from '../store/keys/key-rotations.ts';
import { clearCredentialDueDates } from '../store/lifecycle/credentials-keys.ts';
import { clearEventDueDates } from '../store/lifecycle/events.ts';
import { walkSealedValues } from '../store/sealed-values.ts';

type ShredDeps = Pick<Deps, 'database' | 'commit' | 'clock' | 'random'>;

/** The entry key stays: it opens nothing, and the log must stay verifiable. */
const SHREDDED: DataKeyPurpose[] = ['seal', 'fingerprint'];

/**
 * Destroys a tenant's data keys and closes its API keys, in one change with its entry. Doing it again is harmless.
 * Throws `not_found`; `conflict` when a rotation of its keys went on at the same time: shred again.
 */
export async function shredTenant(deps: ShredDeps, tenantId: string, actor: Entry['actor']): Promise<void> {
  const tenant = await requireTenant(deps, tenantId);
  const now = new Date(deps.clock.now());
  // Rotations are read first: one that stages a key after that finds its record changed, and stages none.
  const rotations = await endedRotations(deps, tenantId, now);
  const keys = await destroyedKeys(deps, tenantId, now);
  const outcome = await deps.commit({
    operations: [
      ...rotations,
      ...keys,
      { in: 'tenants', update: { _id: tenantId, tenantId }, set: { $set: { shreddedAt: tenant.shreddedAt ?? now } } },
    ],
    entries: [makeEntry(deps, { tenantId, type: 'tenant.shredded', actor, detail: { dataKeys: keys.length } })],
  });
  if (outcome !== 'committed') throw new AppError('conflict', { detail: 'A key changed meanwhile; shred again.' });
  await quieten(deps, tenantId, now);
}

/** The tenant of that id. Throws `not_found`. */
export async function requireTenant({ database }: Pick<Deps, 'database'>, tenantId: string): Promise<TenantDoc> {
  const tenant = await findTenant(database, tenantId);
  if (!tenant) throw new AppError('not_found', { detail: `There is no tenant ${tenantId}.` });
  return tenant;
}

/** Where there never was a key, a destroyed one stands in its place: none is made any more. */
async function destroyedKeys({ database }: ShredDeps, tenantId: string, now: Date): Promise<Operation[]> {
  const docs = await listDataKeys(database, { tenantId, purposes: SHREDDED });
  const destroyed = { wrapped: null, state: 'destroyed' } as const;
  const missing = SHREDDED.filter((purpose) => !docs.some((doc) => doc.purpose === purpose));
  return [
    ...docs.map(
      ({ _id, state }): Operation => ({ in: 'data_keys', update: { _id, tenantId, state }, set: { $set: destroyed } }),
    ),
    ...missing.map((purpose): Operation => {
      const _id = dataKeyId(tenantId, purpose, 1);
      return { in: 'data_keys', insert: { _id, tenantId, purpose, version: 1, createdAt: now, ...destroyed } };
    }),
  ];
}

async function endedRotations({ database }: ShredDeps, tenantId: string, now: Date): Promise<Operation[]> {
  const open = await listOpenKeyRotations(database, { tenantId });
  return open.map(({ _id, phase, fence }) => ({
    in: 'key_rotations',
    update: { _id, tenantId, phase, fence },
    set: { $set: { phase: 'finished', finishedAt: now }, $inc: { fence: 1 }, $unset: { open: '', dueAt: '' } },
  }));
}

/** Nothing of the tenant is due any more, and nobody may call for it: there is nothing left to work with. */
async function quieten({ database }: ShredDeps, tenantId: string, now: Date): Promise<void> {
  await revokePrincipals(database, { tenantId, at: now });
  await revokeAlertSources(database, { tenantId, at: now });
  await clearCredentialDueDates(database, tenantId);
  await disableSubscriptions(database, tenantId);
  await clearEventDueDates(database, tenantId);
  await clearIncidentDueDates(database, tenantId);
}

/**
 * Tries to open every sealed value of a tenant, wherever it lies. `opened` is 0 after shredding. Throws when a value could
 * not be tried: `key_unavailable`, `store_unavailable`.
 */
export async function tryToOpenAll(
  deps: Pick<Deps, 'database' | 'sealer' | 'secrets'>,
  tenantId: string,
): Promise<{ tried: number; opened: number }> {
  const count = { tried: 0, opened: 0 };
  for await (const places of walkSealedValues(deps.database, tenantId)) {
    const values = await deps.secrets.get(places);
    for (const [index, { context }] of places.entries()) {
      count.tried += 1;
      if (await opens(deps, values[index] ?? '', context)) count.opened += 1;
    }
  }
  return count;
}

async function opens({ sealer }: Pick<Deps, 'sealer'>, ...[jwe, context]: Parameters<Deps['sealer']['open']>) {
  try {
    await sealer.open(jwe, context);
    return true;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'secret_unreadable') throw error;
    return false;
  }
}
