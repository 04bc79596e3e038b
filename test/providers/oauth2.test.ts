import { createHash, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { Provider, TokenReply } from '../../src/shared/providers/contract.ts';
import { plugin } from '../../src/shared/providers/plugins/oauth2.ts';
import { startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { CLIENT_SECRET, call, deps, errorOf, settingsOf, startStub } from './support.ts';

const server = await startAuthorizationServer();
afterAll(() => server.stop());
const ours = {
  issuer: server.issuer,
  clientId: server.clientId,
  clientSecret: new Secret(server.clientSecret),
};
const provider = await plugin.create(settingsOf('real', ours), deps);

type Proof = { verifier: string; challenge: string };
function proof(): Proof {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

async function consentedCode(to: Provider, { challenge }: Proof): Promise<URLSearchParams> {
  const url = await to.authorizationUrl!({
    redirectUri: server.redirectUri,
    state: 'state-1',
    codeChallenge: challenge,
    scopes: ['openid', 'offline_access', 'read'],
  });
  return new URL(await server.consent(url)).searchParams;
}

async function connect(to: Provider = provider): Promise<TokenReply> {
  const pkce = proof();
  const code = new Secret((await consentedCode(to, pkce)).get('code')!);
  const codeVerifier = new Secret(pkce.verifier);
  return to.exchangeCode!({ code, redirectUri: server.redirectUri, codeVerifier }, call());
}

test('a consent becomes tokens with PKCE; the answer names state and issuer', async () => {
  const answer = await consentedCode(provider, proof());
  expect(answer.get('state')).toBe('state-1');
  expect(answer.get('iss')).toBe(provider.issuer);
  const reply = await connect();
  expect(reply.tokenType).toBe('Bearer');
  expect(reply.scopes).toContain('read');
  expect(reply.expiresAt! - deps.clock.now()).toBeGreaterThan(3_000);
  expect(reply.material.idToken).toBeDefined();
});

test('a wrong verifier and a code used twice are rejected', async () => {
  const pkce = proof();
  const code = new Secret((await consentedCode(provider, pkce)).get('code')!);
  const exchange = (verifier: string) =>
    provider.exchangeCode!({ code, redirectUri: server.redirectUri, codeVerifier: new Secret(verifier) }, call());
  expect((await errorOf(exchange(proof().verifier))).code).toBe('provider_rejected');
  await exchange(pkce.verifier);
  expect((await errorOf(exchange(pkce.verifier))).code).toBe('provider_rejected');
});

test('a refresh rotates the refresh token, and the use of an old one ends the grant', async () => {
  const first = await connect();
  const second = await provider.refresh!(first.material.refreshToken!, call());
  expect(second.material.refreshToken!.reveal()).not.toBe(first.material.refreshToken!.reveal());
  expect((await errorOf(provider.refresh!(first.material.refreshToken!, call()))).code).toBe('provider_grant_ended');
  expect((await errorOf(provider.refresh!(second.material.refreshToken!, call()))).code).toBe('provider_grant_ended');
});

test('introspection tells live from dead without consuming; revocation ends the whole grant', async () => {
  const { material } = await connect();
  expect(await provider.probe!(material, call())).toBe('active');
  expect(await provider.introspectRefreshToken!(material.refreshToken!, call())).toBe('active');
  await provider.revoke!(material, call());
  expect(await provider.probe!(material, call())).toBe('inactive');
  expect(await provider.introspectRefreshToken!(material.refreshToken!, call())).toBe('inactive');
  await provider.revoke!(material, call());
  expect((await errorOf(provider.refresh!(material.refreshToken!, call()))).code).toBe('provider_grant_ended');
});

test('client credentials give a token that introspects as active', async () => {
  const { material } = await provider.clientCredentials!({ scopes: ['read'] }, call());
  expect(material.refreshToken).toBeUndefined();
  expect(await provider.probe!(material, call())).toBe('active');
});

test('a wrong client secret is a matter of our configuration', async () => {
  const wrong = await plugin.create(settingsOf('wrong', { ...ours, clientSecret: new Secret('nope') }), deps);
  const error = await errorOf(wrong.clientCredentials!({ scopes: [] }, call()));
  expect(error.code).toBe('provider_misconfigured');
  expect(error.message).toContain('KEYTURN_PROVIDER_WRONG_CLIENT_SECRET');
});

test('a dead issuer does not stop the start, and is asked again until it answers', async () => {
  const issuer = await startStub();
  const late = await plugin.create(settingsOf('late', { issuer: issuer.url }), deps);
  const refresh = () => late.refresh!(new Secret('r'), call());
  issuer.always({ status: 503, body: 'down' });
  expect((await errorOf(refresh())).code).toBe('provider_unavailable');
  issuer.always({ body: { access_token: 'a' } });
  const metadata = { issuer: issuer.url, token_endpoint: `${issuer.url}/token` };
  issuer.at('GET /.well-known/oauth-authorization-server', { status: 404, body: '' });
  issuer.at('GET /.well-known/openid-configuration', { body: metadata });
  issuer.calls.length = 0;
  await Promise.all([refresh(), refresh(), refresh()]);
  expect(issuer.calls.map(({ path }) => path).sort()).toEqual([
    '/.well-known/oauth-authorization-server',
    '/.well-known/openid-configuration',
    '/token',
    '/token',
    '/token',
  ]);
});

test('what the issuer does not offer is said to be unsupported or unknown', async () => {
  const issuer = await startStub();
  issuer.always({ body: { issuer: issuer.url, token_endpoint: `${issuer.url}/token` } });
  const bare = await plugin.create(settingsOf('bare', { issuer: issuer.url }), deps);
  const material = { accessToken: new Secret('a'), refreshToken: new Secret('r') };
  expect((await errorOf(bare.revoke!(material, call()))).code).toBe('provider_unsupported');
  expect(await bare.probe!(material, call())).toBe('unknown');
  expect(await bare.introspectRefreshToken!(material.refreshToken, call())).toBe('unknown');
});

test.each([
  ['of another issuer', (url: string) => ({ issuer: 'https://evil.example', token_endpoint: `${url}/token` })],
  ['with an endpoint in the clear', (url: string) => ({ issuer: url, token_endpoint: 'http://evil.example/token' })],
  ['without a token endpoint', (url: string) => ({ issuer: url })],
])('metadata %s is refused', async (_, metadata) => {
  const issuer = await startStub();
  issuer.always({ body: metadata(issuer.url) });
  const refused = await plugin.create(settingsOf('refused', { issuer: issuer.url }), deps);
  expect((await errorOf(refused.refresh!(new Secret('r'), call()))).code).toBe('provider_misconfigured');
});

test.each([
  [{ clientId: undefined, issuer: 'https://a.example' }, 'KEYTURN_PROVIDER_BAD_ONE_CLIENT_ID'],
  [{ clientSecret: undefined, issuer: 'https://a.example' }, 'KEYTURN_PROVIDER_BAD_ONE_CLIENT_SECRET'],
  [{ clientSecret: new Secret('sécret'), issuer: 'https://a.example' }, 'KEYTURN_PROVIDER_BAD_ONE_CLIENT_SECRET'],
  [{}, 'KEYTURN_PROVIDER_BAD_ONE_ISSUER'],
  [{ issuer: 'http://a.example' }, 'KEYTURN_PROVIDER_BAD_ONE_ISSUER'],
  [{ issuer: 'https://a.example', extra: { token_uri: 'x' } }, 'KEYTURN_PROVIDER_BAD_ONE_TOKEN_URI'],
  [{ extra: { token_url: 'http://a.example/token' } }, 'KEYTURN_PROVIDER_BAD_ONE_TOKEN_URL'],
])('bad settings name the variable to set, never its value: %#', async (more, variable) => {
  const error = await errorOf(plugin.create(settingsOf('bad-one', more as object), deps));
  expect(error.code).toBe('config_invalid');
  expect(error.message).toContain(variable);
  expect(error.message).not.toContain('sécret');
});

test('an endpoint that the OAuth library refuses is told without the client secret, which the library prints', async () => {
  const settings = settingsOf('idn', { extra: { token_url: 'https://bücher.example/token' } });
  const error = await errorOf(plugin.create(settings, deps));
  expect(error.code).toBe('config_invalid');
  expect(inspect(error, { depth: 20 })).not.toContain(CLIENT_SECRET);
});
