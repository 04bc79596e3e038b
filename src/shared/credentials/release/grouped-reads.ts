/** Fresh reads of credentials: those of many requests become one. */
import { makeBatcher } from '../../platform/concurrency/batcher.ts';
import { AppError } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import { type CredentialGroup, findReleasable, type Releasable } from '../../store/lifecycle/credentials-release.ts';

export type CredentialRef = { id: string; tenantId: string };

/** Reads one credential of a tenant, fresh. Throws `not_found`, `store_unavailable`. */
export type ReadCredential = (ref: CredentialRef) => Promise<Releasable>;

/** Reads of many requests become one `$in`. */
export function makeCredentialReader(deps: Pick<Deps, 'database'>): ReadCredential {
  return makeBatcher<CredentialRef, Releasable>((refs) => readAll(deps, refs), { maxSize: 500, maxConcurrent: 2 }).run;
}

/** The ids and tenants of many requests, each once, for one query. */
export function groupOf(refs: CredentialRef[]): CredentialGroup {
  return {
    ids: [...new Set(refs.map(({ id }) => id))],
    tenantIds: [...new Set(refs.map(({ tenantId }) => tenantId))],
  };
}

async function readAll({ database }: Pick<Deps, 'database'>, refs: CredentialRef[]): Promise<(Releasable | Error)[]> {
  const found = await findReleasable(database, groupOf(refs));
  const byId = new Map(found.map((doc) => [doc._id, doc]));
  return refs.map(({ id, tenantId }) => {
    const doc = byId.get(id);
    // The group may hold several tenants: each member sees its own only (promise 10).
    return doc?.tenantId === tenantId ? doc : new AppError('not_found');
  });
}
