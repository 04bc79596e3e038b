import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basicAuth } from '../../../testkit/providers/oauth-client.ts';
import { type StubProvider, startStubProvider } from '../../../testkit/providers/stub-provider.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../../testkit/servers/authorization-server.ts';
import { atIssuer, services } from '../../../testkit/services.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { expectProblem, startApi, type TestApi } from '../support.ts';

let server: AuthorizationServer;
let stub: StubProvider;
let api: TestApi;

const env = testEnvironment();

beforeAll(async () => {
  server = await startAuthorizationServer({ accessTokenTtlS: 600 });
  stub = await startStubProvider();
  api = await startApi({
    ...env,
    ...services({ acme: atIssuer(server), 'nano-banana': { type: 'nano-banana', base_url: stub.url } }),
  });
});

afterAll(async () => {
  await stub.stop();
  await server.stop();
});

const validate = (id: string, key?: string) => api.call('POST', `/v1/credentials/${id}/validate`, key ? { key } : {});

async function realToken(): Promise<string> {
  const response = await fetch(`${server.issuer}/token`, {
    method: 'POST',
    headers: basicAuth(server),
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'read' }),
  });
  return ((await response.json()) as { access_token: string }).access_token;
}

describe('POST /v1/credentials/{id}/validate', () => {
  test("reports form, expiry and the server's own word by introspection, each by itself, and records that", async () => {
    const token = await realToken();
    const doc = await api.seed({ token });
    const answer = await validate(doc._id);
    expect(answer).toMatchObject({
      status: 200,
      body: {
        credentialId: doc._id,
        generation: 1,
        state: 'active',
        format: { verdict: 'unknown' },
        expiry: { verdict: 'valid', expiresAt: doc.expiresAt?.toISOString() },
        // The refresh token beside it was never the server's.
        provider: { accessToken: { verdict: 'active' }, refreshToken: { verdict: 'inactive' } },
      },
    });
    expect(answer.text).not.toContain(token);
    const { body } = await api.call('GET', `/v1/audit?type=credential.validated&credentialId=${doc._id}`);
    expect(body.items).toMatchObject([
      { outcome: 'success', detail: { accessToken: 'active', refreshToken: 'inactive' } },
    ]);
  });

  test('a token that the server does not know is inactive, one whose time has passed is expired: neither changes the state', async () => {
    const doc = await api.seed({ token: 'CANARY-unknown', expiresAt: new Date(Date.now() - 1_000) });
    const { body } = await validate(doc._id);
    expect(body).toMatchObject({ expiry: { verdict: 'expired' }, provider: { accessToken: { verdict: 'inactive' } } });
    const after = await api.deps.database.collection('credentials').findOne({ _id: doc._id });
    expect(after).toMatchObject({ state: 'active', generation: 1, due: doc.due });
  });

  test('a key is judged by its form and by a probing call; a provider that is down is part of the answer', async () => {
    const seed = (token: string) =>
      api.seed({ service: 'nano-banana', kind: 'api_key', token, expiresAt: null, hasRefreshToken: false });
    const good = await seed(`AIza${'x'.repeat(35)}`);
    stub.script({ status: 200, body: { models: [] } });
    expect((await validate(good._id)).body).toMatchObject({
      format: { verdict: 'valid' },
      expiry: { verdict: 'unknown', expiresAt: null },
      provider: { accessToken: { verdict: 'active' } },
    });
    stub.script({ status: 503, body: { error: 'CANARY' } });
    const down = await validate((await seed('nothing like a key'))._id);
    expect(down).toMatchObject({
      status: 200,
      body: {
        format: { verdict: 'invalid' },
        provider: { accessToken: { verdict: 'unavailable', problem: { type: /provider_unavailable$/ } } },
      },
    });
    expect(down.text).not.toContain('CANARY');
  });

  test('a quarantined credential can be asked about; a pending and a destroyed one have nothing to ask about', async () => {
    expect((await validate((await api.seed({ state: 'quarantined' }))._id)).status).toBe(200);
    expectProblem(await validate((await api.seed({ state: 'pending', secret: null }))._id), 409, 'credential_pending');
    expectProblem(
      await validate((await api.seed({ state: 'destroyed', secret: null }))._id),
      409,
      'credential_blocked',
    );
  });

  test("takes the service's permission; promise 10: another tenant's credential is not there", async () => {
    const doc = await api.seed();
    expectProblem(await validate(doc._id, await api.keyWith('acme:read', 'figma:validate')), 403, 'permission_denied');
    expect((await validate(doc._id, await api.keyWith('acme:validate'))).status).toBe(200);
    expectProblem(await validate(doc._id, (await api.otherTenant()).key), 404, 'not_found');
  });
});
