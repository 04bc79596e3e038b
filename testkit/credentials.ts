import { fingerprintsOf, storeMaterial } from '../src/shared/keys/material.ts';
import { newId } from '../src/shared/platform/ids.ts';
import { Secret } from '../src/shared/platform/secret.ts';
import { chunk } from '../src/shared/queue/hints.ts';
import type { Deps } from '../src/shared/runtime/deps.ts';
import type { CredentialDoc } from '../src/shared/store/lifecycle/credentials.ts';

/** Active OAuth credentials of one tenant, with sealed tokens that live for an hour. Resolves to their ids. */
export async function seedCredentials(
  deps: Deps,
  options: { count: number; service: string; tenantId: string; from?: number; set?: Partial<CredentialDoc> },
): Promise<string[]> {
  const ids: string[] = [];
  const numbers = Array.from({ length: options.count }, (_, index) => index + (options.from ?? 0));
  for (const part of chunk(numbers, 1_000)) {
    const docs = await Promise.all(part.map((number) => makeCredential(deps, number, options)));
    await deps.database.collection('credentials').insertMany(docs, { ordered: false });
    ids.push(...docs.map((doc) => doc._id));
  }
  return ids;
}

async function makeCredential(
  deps: Deps,
  number: number,
  { service, tenantId, set }: { service: string; tenantId: string; set?: Partial<CredentialDoc> },
): Promise<CredentialDoc> {
  const now = deps.clock.now();
  const owner = { _id: newId('credential', deps), tenantId };
  const material = {
    accessToken: new Secret(`at-seed-${number}-0123456789abcdefghijklmnop`),
    refreshToken: new Secret(`rt-seed-${number}-0123456789abcdefghijklmnop`),
  };
  return {
    ...owner,
    service,
    subject: `person-${number}`,
    kind: 'oauth2',
    state: 'active',
    generation: 1,
    secret: await storeMaterial(deps, owner, 1, material),
    fingerprints: await fingerprintsOf(deps, tenantId, material),
    issuer: null,
    resource: null,
    scopes: ['read'],
    tokenType: 'Bearer',
    expiresAt: new Date(now + 3_600_000),
    refreshExpiresAt: null,
    hasRefreshToken: true,
    metadata: {},
    due: {},
    claimed: {},
    failures: 0,
    lastError: null,
    blocked: null,
    rotation: null,
    policy: {},
    createdAt: new Date(now),
    updatedAt: new Date(now),
    secretChangedAt: new Date(now),
    lastReleasedAt: null,
    fence: 0,
    lease: null,
    interrupted: null,
    ...set,
  };
}
