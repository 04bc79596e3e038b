import { makeBatcher } from '../../platform/concurrency/batcher.ts';
import { AppError } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';

export type CredentialRef = { id: string; tenantId: string };

const FIELDS = [
  '_id',
  'tenantId',
  'service',
  'subject',
  'kind',
  'state',
  'generation',
  'secret',
  'scopes',
  'tokenType',
  'metadata',
  'expiresAt',
  'hasRefreshToken',
  'due',
  'claimed',
  'lastError',
  'blocked',
  'secretChangedAt',
  'lastReleasedAt',
] as const satisfies (keyof CredentialDoc)[];

const PROJECTION = Object.fromEntries(FIELDS.map((field) => [field, 1]));

/** What a release needs to know of a credential. */
export type Releasable = Pick<CredentialDoc, (typeof FIELDS)[number]>;

/** Reads one credential of a tenant, fresh. Throws `not_found`, `store_unavailable`. */
export type ReadCredential = (ref: CredentialRef) => Promise<Releasable>;

/** Reads of many requests become one `$in`. */
export function makeCredentialReader(deps: Pick<Deps, 'database'>): ReadCredential {
  return makeBatcher<CredentialRef, Releasable>((refs) => readAll(deps, refs), { maxSize: 500, maxConcurrent: 2 }).run;
}

async function readAll({ database }: Pick<Deps, 'database'>, refs: CredentialRef[]): Promise<(Releasable | Error)[]> {
  const ids = [...new Set(refs.map(({ id }) => id))];
  const tenants = [...new Set(refs.map(({ tenantId }) => tenantId))];
  const found = await database
    .collection('credentials')
    .find({ _id: { $in: ids }, tenantId: { $in: tenants } }, { projection: PROJECTION, hint: { _id: 1 } })
    .toArray();
  const byId = new Map(found.map((doc) => [doc._id, doc]));
  return refs.map(({ id, tenantId }) => {
    const doc = byId.get(id);
    // The group may hold several tenants: each member sees its own only (promise 10).
    return doc?.tenantId === tenantId ? doc : new AppError('not_found');
  });
}
