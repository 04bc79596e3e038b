import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import { seedCredentials } from '../../../testkit/credentials.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../../testkit/servers/authorization-server.ts';
import { atIssuer, services } from '../../../testkit/services.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';

const env = testEnvironment();
let server: AuthorizationServer;
let system: TestSystem;
let seeded = 0;

beforeAll(async () => {
  server = await startAuthorizationServer();
  system = await startSystem({ ...env, ...services({ acme: atIssuer(server) }) });
  await system.startWorkers();
});

afterAll(async () => {
  await system.stop();
  await server.stop();
});

async function seed(set: Partial<CredentialDoc>): Promise<string> {
  seeded += 1;
  const base = { hasRefreshToken: false, expiresAt: null };
  const wanted = { count: 1, service: 'acme', tenantId: 'ten_a', from: seeded, set: { ...base, ...set } };
  return (await seedCredentials(system.deps, wanted))[0]!;
}

async function entriesOf(credentialId: string) {
  const find = () => system.deps.database.collection('audit').find({ credentialId }).toArray();
  return until(async () => ((await find()).length > 0 ? find() : null), { what: 'the entry' });
}

const ago = (ms: number) => new Date(Date.now() - ms);

describe('a secret that cannot be refreshed', () => {
  test('expires at its end, with an entry, and nothing of it is due any more', async () => {
    const _id = await seed({ expiresAt: ago(1), due: { expire: ago(1) } });
    const doc = await system.credential({ _id }, ({ state }) => state === 'expired');
    expect(doc).toMatchObject({ due: {}, claimed: {}, lease: null });
    expect(await entriesOf(_id)).toMatchObject([{ type: 'credential.expired', outcome: 'success' }]);
  });

  test('does not expire before its end', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000);
    const _id = await seed({ expiresAt, due: { expire: ago(1) } });
    const doc = await system.credential({ _id }, ({ due }) => due.expire?.getTime() === expiresAt.getTime());
    expect(doc).toMatchObject({ state: 'active', claimed: {} });
  });
});

describe('a secret without an end', () => {
  test('that the provider calls dead ends: a grant asks for consent, a key expires', async () => {
    const grant = await seed({ due: { validate: ago(1) } });
    const key = await seed({ kind: 'api_key', due: { validate: ago(1) } });
    await system.credential({ _id: grant }, ({ state }) => state === 'reauthorization_required');
    await system.credential({ _id: key }, ({ state }) => state === 'expired');
    expect(await entriesOf(grant)).toMatchObject([
      { type: 'credential.reauthorization_required', reason: 'found_inactive' },
    ]);
    expect(await entriesOf(key)).toMatchObject([{ type: 'credential.expired', reason: 'found_inactive' }]);
  });

  test('is left alone while the provider does not answer, and asked about again', async () => {
    const _id = await seed({ service: 'acme', due: { validate: ago(1) } });
    await server.stop();
    const doc = await system.credential({ _id }, ({ due, claimed }) => {
      return claimed.validate === undefined && (due.validate?.getTime() ?? 0) > Date.now() + 30_000;
    });
    expect(doc.state).toBe('active');
  });
});

test('a credential at rest loses the dates that were written before', async () => {
  const _id = await seed({ state: 'quarantined', hasRefreshToken: true, due: { refresh: ago(1) } });
  const doc = await system.credential({ _id }, ({ due }) => due.refresh === undefined);
  expect(doc).toMatchObject({ state: 'quarantined', claimed: {} });
});
