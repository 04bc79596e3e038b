/** Crypto-shredding: without its data keys nothing that a tenant sealed opens any more, wherever a copy lies. */

import { AppError, toAppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { dataKeyId } from '../sealing/data-keys.ts';
import type { DataKeyPurpose } from '../sealing/key-providers/contract.ts';
import type { TenantDoc } from '../store/access/tenants.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Operation } from '../store/commit.ts';
import type { Documents } from '../store/database.ts';
import { makeEntry } from '../store/entry.ts';
import { SEALED_COLLECTIONS, type SealedCollection, sealedValuesOf } from '../store/sealed-values.ts';

type ShredDeps = Pick<Deps, 'database' | 'commit' | 'clock' | 'random'>;

/** The entry key stays: it opens nothing, and the log must stay verifiable. */
const SHREDDED: DataKeyPurpose[] = ['seal', 'fingerprint'];

/**
 * Destroys a tenant's data keys and closes its API keys, in one change with its entry. Doing it again is harmless.
 * Throws `not_found`; `conflict` when a rotation of its keys went on at the same time: shred again.
 */
export async function shredTenant(deps: ShredDeps, tenantId: string, actor: Entry['actor']): Promise<void> {
  const tenant = await findTenant(deps, tenantId);
  const now = new Date(deps.clock.now());
  // Read first: a rotation that stages a key after that finds its record changed, and stages none.
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

/** The tenant. Throws `not_found`. */
export async function findTenant({ database }: Pick<Deps, 'database'>, tenantId: string): Promise<TenantDoc> {
  const tenant = await database.collection('tenants').findOne({ _id: tenantId, tenantId });
  if (!tenant) throw new AppError('not_found', { detail: `There is no tenant ${tenantId}.` });
  return tenant;
}

/** Where there never was a key, a destroyed one stands in its place: none is made any more. */
async function destroyedKeys({ database }: ShredDeps, tenantId: string, now: Date): Promise<Operation[]> {
  const docs = await database
    .collection('data_keys')
    .find({ tenantId, purpose: { $in: SHREDDED } })
    .toArray();
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
  const open = await database.collection('key_rotations').find({ tenantId, open: true }).toArray();
  return open.map(({ _id, phase, fence }) => ({
    in: 'key_rotations',
    update: { _id, tenantId, phase, fence },
    set: { $set: { phase: 'finished', finishedAt: now }, $inc: { fence: 1 }, $unset: { open: '', dueAt: '' } },
  }));
}

/** Nothing of the tenant is due any more, and nobody may call for it. What was destroyed cannot be worked on. */
async function quieten({ database }: ShredDeps, tenantId: string, now: Date): Promise<void> {
  await database.collection('principals').updateMany({ tenantId, revokedAt: null }, { $set: { revokedAt: now } });
  await database.collection('alert_sources').updateMany({ tenantId, revokedAt: null }, { $set: { revokedAt: now } });
  await database.collection('credentials').updateMany({ tenantId }, { $set: { due: {}, claimed: {} } });
  await database
    .collection('subscriptions')
    .updateMany({ tenantId }, { $set: { state: 'disabled' }, $unset: { dueAt: '' } });
  for (const name of ['events', 'incidents'] as const) {
    await database.db.collection(name).updateMany({ tenantId }, { $unset: { dueAt: '' } });
  }
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
  for (const name of SEALED_COLLECTIONS) {
    for await (const doc of deps.database.db.collection(name).find({ tenantId })) {
      const places = sealedValuesOf(name, doc as unknown as Documents[SealedCollection] as never);
      const values = await deps.secrets.get(places);
      for (const [index, { context }] of places.entries()) {
        count.tried += 1;
        if (await opens(deps, values[index] ?? '', context)) count.opened += 1;
      }
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
