import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { findTenant } from '../store/access/tenants.ts';
import type { Change } from '../store/commit.ts';
import { makeEntry } from '../store/entry.ts';
import { API_KEY, makePrincipal } from './api-keys.ts';

/** The tenant that the first start makes. Its id is fixed, so that two processes which start together make only one. */
export const FIRST_TENANT_ID = `ten_${'0'.repeat(32)}`;

type BootstrapDeps = Pick<Deps, 'config' | 'clock' | 'random' | 'database' | 'commit'>;

/**
 * Makes the first tenant and its admin at the first start. Resolves to the admin's key where it was generated here: it must be
 * shown now, and can never be shown again. Null when the tenant is there already, or the operator gave the key. Throws
 * `config_invalid` when that key has the wrong form.
 */
export async function bootstrap(deps: BootstrapDeps): Promise<string | null> {
  const given = deps.config.bootstrapKey?.reveal();
  if (given !== undefined && !API_KEY.test(given)) {
    throw new AppError('config_invalid', {
      detail: 'KEYTURN_BOOTSTRAP_KEY must be kt_live_ and 43 base64url characters (32 random bytes).',
    });
  }
  if (await findTenant(deps.database, FIRST_TENANT_ID)) return null;
  const { change, key } = newTenant(
    deps,
    { _id: FIRST_TENANT_ID, name: 'first' },
    { kind: 'system', id: 'api' },
    given,
  );
  const outcome = await deps.commit(change);
  return outcome === 'committed' && given === undefined ? key : null;
}

type Actor = Change['entries'][number]['actor'];

/** A new tenant with its admin, as one change that is to be committed; `key` is the admin's, shown once. */
export function newTenant(
  deps: Pick<Deps, 'clock' | 'random'>,
  tenant: { _id: string; name: string },
  actor: Actor,
  givenKey?: string,
) {
  const tenantId = tenant._id;
  const wanted = { tenantId, name: 'admin', permissions: ['*:*'], expiresAt: null };
  const { principal, key } = makePrincipal(deps, wanted, givenKey);
  const createdAt = new Date(deps.clock.now());
  const change: Change = {
    operations: [
      { in: 'tenants', insert: { ...tenant, tenantId, createdAt, shreddedAt: null } },
      { in: 'principals', insert: principal },
    ],
    entries: [
      makeEntry(deps, { tenantId, type: 'tenant.created', actor, detail: { name: tenant.name } }),
      makeEntry(deps, { tenantId, type: 'principal.created', actor, detail: { principalId: principal._id } }),
    ],
  };
  return { change, principal, key, createdAt };
}
