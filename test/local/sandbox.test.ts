import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { openBrowser } from '../../local/tools/browser.ts';
import { inParallel } from '../../src/shared/platform/concurrency/in-parallel.ts';
import { authorizationUrl } from '../../testkit/messages/consent.ts';
import { basicAuth } from '../../testkit/providers/oauth-client.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { testAuthorizationServer } from '../../testkit/servers/for-tests.ts';

const server = await testAuthorizationServer();

afterEach(() => {
  server.setFailure(null);
  server.withholdScopes([]);
});

function authorization(at: AuthorizationServer = server, extra: Record<string, string> = {}) {
  const verifier = randomBytes(32).toString('base64url');
  const codeChallenge = createHash('sha256').update(verifier).digest('base64url');
  const asked = { redirectUri: at.redirectUri, state: 's', codeChallenge, scopes: ['read', 'write'] };
  const url = new URL(authorizationUrl(at, asked));
  for (const [name, value] of Object.entries(extra)) url.searchParams.set(name, value);
  return { url: url.href, verifier };
}

async function post(path: string, form: Record<string, string>, at: AuthorizationServer = server) {
  const response = await fetch(new URL(path, at.issuer), {
    method: 'POST',
    headers: basicAuth(at),
    body: new URLSearchParams(form),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
}

async function obtain(at: AuthorizationServer = server, extra: Record<string, string> = {}) {
  const { url, verifier } = authorization(at, extra);
  const callback = new URL(await at.consent(url));
  const code = callback.searchParams.get('code') ?? '';
  return exchange(code, verifier, at);
}

function exchange(code: string, verifier: string, at: AuthorizationServer = server) {
  const form = { grant_type: 'authorization_code', code, redirect_uri: at.redirectUri, code_verifier: verifier };
  return post('/token', form, at);
}

const refresh = (token: string, at: AuthorizationServer = server) =>
  post('/token', { grant_type: 'refresh_token', refresh_token: token }, at);

test('a consent without a browser ends in opaque tokens of 5 seconds and a refresh token', async () => {
  const { body } = await obtain();
  expect(body).toMatchObject({ token_type: 'Bearer', expires_in: 5, scope: 'read write' });
  expect(body.access_token).not.toContain('.');
  expect(await server.findToken(body.access_token)).toMatchObject({ kind: 'access', active: true });
  expect(await server.findToken(body.refresh_token)).toMatchObject({ kind: 'refresh', active: true, consumed: false });
  expect(await server.findToken('unknown')).toBeNull();
});

test('a code without its PKCE verifier is refused, and so is an authorization without a challenge', async () => {
  const { url } = authorization();
  const callback = new URL(await server.consent(url));
  expect(callback.searchParams.get('iss')).toBe(server.issuer);
  expect((await exchange(callback.searchParams.get('code') ?? '', 'x'.repeat(43))).body.error).toBe('invalid_grant');
  const plain = new URL(authorization().url);
  plain.searchParams.delete('code_challenge');
  plain.searchParams.delete('code_challenge_method');
  expect(new URL(await server.consent(plain.href)).searchParams.get('error')).toBe('invalid_request');
});

test('a person may decline, or grant less than was asked for', async () => {
  const denied = new URL(await server.consent(authorization().url, { decision: 'deny' }));
  expect(denied.searchParams.get('error')).toBe('access_denied');
  server.withholdScopes(['write']);
  expect((await obtain()).body.scope).toBe('read');
});

test('reuse of a refresh token ends the whole grant and is counted with its reason', async () => {
  const { body } = await obtain();
  const before = server.counts.refreshes;
  const second = await refresh(body.refresh_token);
  expect(server.counts.refreshes).toBe(before + 1);
  expect((await refresh(body.refresh_token)).body.error).toBe('invalid_grant');
  expect(server.grantErrors.at(-1)?.reason).toBe('refresh token already used');
  expect(server.grantsRevoked.at(-1)?.route).toBe('token');
  expect(await server.findToken(second.body.refresh_token)).toBeNull();
});

test('revocation of a refresh token ends its access tokens, and introspection says so', async () => {
  const { body } = await obtain();
  const introspect = () => post('/token/introspection', { token: body.access_token });
  expect((await introspect()).body.active).toBe(true);
  expect((await post('/token/revocation', { token: body.refresh_token })).status).toBe(200);
  expect((await introspect()).body.active).toBe(false);
  expect(server.grantsRevoked.at(-1)?.route).toBe('revocation');
});

test('it gives opaque tokens for a resource, and client credentials', async () => {
  const resource = 'https://api.example.com/';
  expect((await obtain(server, { resource })).body.access_token).not.toContain('.');
  expect((await post('/token', { grant_type: 'client_credentials', scope: 'read' })).body.scope).toBe('read');
});

test('a client registers itself, reads itself, and goes (RFC 7591, 7592)', async () => {
  const created = await fetch(`${server.issuer}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ redirect_uris: ['http://127.0.0.1:9/cb'] }),
  });
  const client = (await created.json()) as Record<string, string>;
  const headers = { authorization: `Bearer ${client.registration_access_token}` };
  const uri = client.registration_client_uri ?? '';
  expect((await fetch(uri, { headers })).status).toBe(200);
  expect((await fetch(uri, { headers, method: 'DELETE' })).status).toBe(204);
});

test('the token endpoint fails as told, and only as often as told', async () => {
  const { body } = await obtain();
  server.setFailure('unavailable', 1);
  expect((await refresh(body.refresh_token)).status).toBe(503);
  server.setFailure('html', 1);
  expect((await refresh(body.refresh_token)).body).toContain('Bad Gateway');
  server.setFailure('reset', 1);
  await expect(refresh(body.refresh_token)).rejects.toThrow();
  expect((await refresh(body.refresh_token)).status).toBe(200);
});

test('a lost reply was carried out all the same', async () => {
  const { body } = await obtain();
  server.setFailure('lost', 1);
  await expect(refresh(body.refresh_token)).rejects.toThrow();
  expect(await server.findToken(body.refresh_token)).toMatchObject({ consumed: true });
});

test('more than a thousand grants live side by side, and survive a restart', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-sandbox-'));
  const options = { stateFile: join(dir, 'state'), accessTokenTtlS: 60 };
  const first = await startAuthorizationServer(options);
  const { body } = await obtain(first);
  const grants = Array.from({ length: 1_100 }, () => ({ grant_type: 'client_credentials' }));
  await inParallel(grants, 20, (form) => post('/token', form, first));
  expect((await first.findToken(body.refresh_token))?.active).toBe(true);
  await first.stop();
  const second = await startAuthorizationServer({ ...options, port: first.port });
  expect((await second.findToken(body.refresh_token))?.active).toBe(true);
  await second.stop();
  await rm(dir, { recursive: true });
});

test('without automatic consent a page that is marked as a sandbox asks', async () => {
  const asking = await startAuthorizationServer({ autoConsent: false });
  try {
    const browser = openBrowser();
    const page = await browser.follow(authorization(asking, { scope: 'read' }).url);
    const html = await page.response?.text();
    expect(html).toContain('SANDBOX');
    expect(html).toContain('<button name="decision" value="allow" autofocus>Continue</button>');
    const answered = await browser.request(page.url, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'allow' }),
    });
    const next = new URL(answered.headers.get('location') ?? '', page.url);
    const { url } = await browser.follow(next, { stop: ({ href }) => href.startsWith(asking.redirectUri) });
    expect(new URL(url).searchParams.has('code')).toBe(true);
  } finally {
    await asking.stop();
  }
});
