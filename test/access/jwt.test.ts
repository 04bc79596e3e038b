import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, describe, expect, test } from 'vitest';
import { serveOnLoopback } from '../../local/tools/loopback.ts';
import { FIRST_TENANT_ID } from '../../src/shared/access/bootstrap.ts';
import { makeJwtAuth } from '../../src/shared/access/jwt.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { ACME, expectProblem, startApi } from '../api/support.ts';

const AUDIENCE = 'https://keyturn.test';
const pair = await generateKeyPair('ES256');
const issuerServer = await startIssuer();
const env = {
  ...testEnvironment(),
  ...ACME,
  KEYTURN_JWT_ISSUER: issuerServer.issuer,
  KEYTURN_JWT_AUDIENCE: AUDIENCE,
};
const api = await startApi(env);

afterAll(() => issuerServer.stop());

/** An issuer that publishes one key. */
async function startIssuer() {
  const keys = [{ ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }];
  let asked = 0;
  const { url: issuer, stop } = await serveOnLoopback((request, response) => {
    asked += 1;
    const isKeys = request.url === '/keys';
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(isKeys ? { keys } : { issuer, jwks_uri: `${issuer}/keys` }));
  });
  return { issuer, asked: () => asked, stop };
}

type Claims = Record<string, unknown>;

const GOOD: Claims = { sub: 'ci', keyturn_tenant: FIRST_TENANT_ID, keyturn_permissions: ['acme:read', 'audit:read'] };

const inSeconds = (s: number) => Math.floor(Date.now() / 1_000) + s;

function token(
  claims: Claims = {},
  { key = pair.privateKey, alg = 'ES256' }: { key?: never | CryptoKey | Uint8Array; alg?: string } = {},
) {
  const whole = { iss: issuerServer.issuer, aud: AUDIENCE, iat: inSeconds(-1), exp: inSeconds(60), ...GOOD, ...claims };
  return new SignJWT(whole).setProtectedHeader({ alg, kid: 'k1' }).sign(key);
}

const read = (key: string) => api.call('GET', '/v1/credentials', { key });

describe('a JWT of the configured issuer', () => {
  test('stands for a principal of its tenant with its permissions, and acts under a name of its own', async () => {
    const key = await token();
    expect((await read(key)).status).toBe(200);
    const doc = await api.seed();
    expectProblem(await api.call('GET', `/v1/credentials/${doc._id}/token`, { key }), 403, 'permission_denied');
    const words = await token({ sub: 'prn_someone', keyturn_permissions: 'acme:release audit:read' });
    expect((await api.call('GET', `/v1/credentials/${doc._id}/token`, { key: words })).status).toBe(200);
    const { body } = await api.call('GET', '/v1/audit?principal=jwt:prn_someone', { key: words });
    expect(body.items).toMatchObject([{ type: 'credential.accessed', actor: { id: 'jwt:prn_someone' } }]);
  });

  test('is verified once in its short life, and its keys are fetched once', async () => {
    const key = await token({ sub: 'often' });
    const before = issuerServer.asked();
    for (let count = 0; count < 20; count += 1) expect((await read(key)).status).toBe(200);
    expect(issuerServer.asked()).toBe(before);
  });

  test('is refused like any other key when it is not for us, not of the issuer, too old, or says too little', async () => {
    const stranger = await generateKeyPair('ES256');
    const bad = await Promise.all([
      token({ aud: 'https://other.test' }),
      token({ iss: 'https://other.test' }),
      token({ exp: inSeconds(-60) }),
      token({ nbf: inSeconds(60) }),
      token({ exp: undefined }),
      token({ sub: undefined }),
      token({ keyturn_tenant: undefined }),
      token({ keyturn_tenant: 'ten_none' }),
      token({ keyturn_permissions: undefined }),
      token({ keyturn_permissions: ['everything'] }),
      token({}, { key: stranger.privateKey }),
      token({}, { key: new TextEncoder().encode(JSON.stringify(await exportJWK(pair.publicKey))), alg: 'HS256' }),
    ]);
    const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${bad[0]!.split('.')[1]}.`;
    const answers = [];
    for (const key of [...bad, unsigned, `${bad[0]}x`]) answers.push(await read(key));
    for (const answer of answers) expectProblem(answer, 401, 'unauthenticated');
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  });

  test("promise 10: it reaches its own tenant's objects only", async () => {
    const doc = await api.seed();
    const { tenantId } = await api.otherTenant();
    const key = await token({ keyturn_tenant: tenantId, keyturn_permissions: ['*:*'] });
    expectProblem(await api.call('GET', `/v1/credentials/${doc._id}`, { key }), 404, 'not_found');
  });
});

describe('the configuration of JWTs', () => {
  const withEnv = (extra: Record<string, string>) => {
    const { KEYTURN_JWT_ISSUER: _, KEYTURN_JWT_AUDIENCE: __, ...rest } = env;
    return makeJwtAuth({ ...api.deps, config: parseConfig({ ...rest, ...extra }) });
  };

  test('it is off unless configured, and half of it is no configuration', () => {
    expect(withEnv({})).toBeNull();
    const issuer = { KEYTURN_JWT_ISSUER: issuerServer.issuer };
    const halves: Record<string, string>[] = [
      issuer,
      { KEYTURN_JWT_AUDIENCE: AUDIENCE },
      { KEYTURN_JWT_ISSUER: 'http://idp.test', KEYTURN_JWT_AUDIENCE: AUDIENCE },
    ];
    for (const half of halves) expect(() => withEnv(half)).toThrow('Set both KEYTURN_JWT_ISSUER');
  });

  test('an issuer that does not answer is no refusal: 503, and the next caller asks again', async () => {
    const auth = withEnv({ KEYTURN_JWT_ISSUER: 'http://127.0.0.1:9', KEYTURN_JWT_AUDIENCE: AUDIENCE })!;
    for (let count = 0; count < 2; count += 1) {
      await expect(auth(await token())).rejects.toMatchObject({ code: 'provider_unavailable' });
    }
  });
});
