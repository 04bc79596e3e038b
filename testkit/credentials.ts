import { fingerprintsOf, storeMaterial } from '../src/shared/keys/material.ts';
import { chunk } from '../src/shared/platform/concurrency/chunk.ts';
import { newId } from '../src/shared/platform/ids.ts';
import { Secret } from '../src/shared/platform/secret.ts';
import type { Deps } from '../src/shared/runtime/deps.ts';
import type { CredentialDoc } from '../src/shared/store/lifecycle/credentials.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** The fields that matter to a test. `accessToken` and `refreshToken` are what its sealed secret opens to. */
export type CredentialFields = Partial<CredentialDoc> & { accessToken?: string; refreshToken?: string };

/**
 * An active OAuth credential of `ten_a`, as the workers would have made it: sealed, an hour from its end, due for nothing.
 * It is not stored. `fields` come on top; a `secret` among them is taken as it is.
 */
export async function credentialDoc(
  deps: Pick<Deps, 'clock' | 'random' | 'sealer' | 'secrets'>,
  fields: CredentialFields = {},
): Promise<CredentialDoc> {
  const { accessToken = 'an-access-token', refreshToken = 'a-refresh-token', ...overrides } = fields;
  const owner = { _id: overrides._id ?? newId('credential', deps), tenantId: overrides.tenantId ?? 'ten_a' };
  const generation = overrides.generation ?? 1;
  const material = { accessToken: new Secret(accessToken), refreshToken: new Secret(refreshToken) };
  const now = new Date(deps.clock.now());
  return {
    service: 'acme',
    subject: owner._id,
    kind: 'oauth2',
    state: 'active',
    secret: overrides.secret === undefined ? await storeMaterial(deps, owner, generation, material) : overrides.secret,
    fingerprints: overrides.fingerprints ?? (await fingerprintsOf(deps, owner.tenantId, material)),
    issuer: null,
    resource: null,
    scopes: ['read'],
    tokenType: 'Bearer',
    expiresAt: new Date(now.getTime() + HOUR_MS),
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
    createdAt: now,
    updatedAt: now,
    secretChangedAt: now,
    lastReleasedAt: null,
    fence: 0,
    lease: null,
    interrupted: null,
    ...overrides,
    ...owner,
    generation,
  };
}

/** Stores one credential and resolves to it. */
export async function insertCredential(deps: Deps, fields: CredentialFields = {}): Promise<CredentialDoc> {
  const doc = await credentialDoc(deps, fields);
  await deps.database.collection('credentials').insertOne(doc);
  return doc;
}

type Seed = { count: number; service: string; tenantId: string; from?: number; set?: Partial<CredentialDoc> };

/** Stores credentials of one tenant, of `person-<from>` and those after. Resolves to their ids. */
export async function seedCredentials(deps: Deps, { count, from = 0, set, ...owner }: Seed): Promise<string[]> {
  const make = (number: number) =>
    credentialDoc(deps, {
      ...owner,
      subject: `person-${number}`,
      accessToken: `at-seed-${number}-0123456789abcdefghijklmnop`,
      refreshToken: `rt-seed-${number}-0123456789abcdefghijklmnop`,
      ...set,
    });
  const ids: string[] = [];
  const numbers = Array.from({ length: count }, (_, index) => index + from);
  for (const part of chunk(numbers, 1_000)) {
    const docs = await Promise.all(part.map(make));
    await deps.database.collection('credentials').insertMany(docs, { ordered: false });
    ids.push(...docs.map((doc) => doc._id));
  }
  return ids;
}

/**
 * Stores idle credentials, due within the next day but not in the next hour. What stands for their sealed values has the true
 * size and does not compress, as theirs do; it is never opened.
 */
export async function seedIdle(deps: Deps, { count, ...owner }: Omit<Seed, 'from' | 'set'>): Promise<void> {
  const model = await credentialDoc(deps, owner);
  for (const part of chunk(Array.from({ length: count }), 2_000)) {
    const docs = part.map(() => idle(deps, model));
    await deps.database.collection('credentials').insertMany(docs, { ordered: false });
  }
}

function idle(deps: Deps, model: CredentialDoc): CredentialDoc {
  const _id = newId('credential', deps);
  const dueAt = deps.clock.now() + HOUR_MS + deps.random.fraction() * DAY_MS;
  const fingerprints = [0, 1].map(() => `v1.${deps.random.bytes(32).toString('base64url')}`);
  const jwe = deps.random.bytes(Math.round((model.secret!.jwe!.length * 3) / 4)).toString('base64url');
  const secret = { ...model.secret!, jwe };
  return { ...model, _id, subject: _id, fingerprints, secret, due: { refresh: new Date(dueAt) } };
}
