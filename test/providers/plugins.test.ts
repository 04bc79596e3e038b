import { expect, test } from 'vitest';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { Provider } from '../../src/shared/providers/contract.ts';
import { plugin as figmaPlugin } from '../../src/shared/providers/plugins/figma.ts';
import { plugin as nanoBananaPlugin } from '../../src/shared/providers/plugins/nano-banana.ts';
import { plugin as notionPlugin } from '../../src/shared/providers/plugins/notion.ts';
import type { StubProvider } from '../../testkit/providers/stub-provider.ts';
import { CLIENT_SECRET, call, deps, errorOf, settingsOf, startStub } from './support.ts';

const request = { redirectUri: 'https://app.example/cb', state: 's-1', codeChallenge: 'challenge' };

const exchange = (provider: Provider) =>
  provider.exchangeCode!(
    { code: new Secret('code-1'), redirectUri: request.redirectUri, codeVerifier: new Secret('verifier-1') },
    call(),
  );

const formOf = (stub: StubProvider) => Object.fromEntries(new URLSearchParams(stub.calls.at(-1)!.body));

test('figma: scopes by comma, basic auth, a refresh URL of its own, the refresh token stays', async () => {
  const stub = await startStub();
  const figma = await figmaPlugin.create(settingsOf('figma', { baseUrl: stub.url }), deps);
  const url = new URL(
    await figma.authorizationUrl!({ ...request, scopes: ['current_user:read', 'file_content:read'] }),
  );
  expect(url.pathname).toBe('/oauth');
  expect(Object.fromEntries(url.searchParams)).toMatchObject({
    scope: 'current_user:read,file_content:read',
    code_challenge_method: 'S256',
    state: 's-1',
  });

  stub.at('POST /v1/oauth/token', {
    body: {
      user_id_string: '1234',
      access_token: 'figu_access',
      token_type: 'bearer',
      expires_in: 7_776_000,
      refresh_token: 'figur_refresh',
    },
  });
  const connected = await exchange(figma);
  expect(connected.metadata).toEqual({ user_id_string: '1234' });
  expect(formOf(stub)).toMatchObject({ code_verifier: 'verifier-1', grant_type: 'authorization_code' });
  expect(stub.calls.at(-1)!.headers.authorization).toMatch(/^Basic /);

  stub.at('POST /v1/oauth/refresh', {
    body: { access_token: 'figu_next', token_type: 'bearer', expires_in: 7_776_000 },
  });
  const refreshed = await figma.refresh!(connected.material.refreshToken!, call());
  expect(refreshed.material.accessToken.reveal()).toBe('figu_next');
  expect(refreshed.material.refreshToken!.reveal()).toBe('figur_refresh');
  expect(figma.revoke).toBeUndefined();
});

test('figma: an OAuth token and a personal token are probed each in its own header', async () => {
  const stub = await startStub();
  const figma = await figmaPlugin.create(settingsOf('figma', { baseUrl: stub.url }), deps);
  const probe = (token: string) => figma.probe!({ accessToken: new Secret(token) }, call());
  stub.always({ body: { id: '1234', handle: 'a', email: 'a@example.com' } });
  expect(await probe('figu_abc')).toBe('active');
  expect(stub.calls.at(-1)).toMatchObject({ path: '/v1/me', headers: { authorization: 'Bearer figu_abc' } });
  expect(await probe('figd_abc')).toBe('active');
  expect(stub.calls.at(-1)!.headers['x-figma-token']).toBe('figd_abc');
  stub.always({ status: 403, body: { status: 403, err: 'Invalid token' } });
  expect(await probe('figu_abc')).toBe('inactive');
  stub.always({ status: 403, body: { status: 403, err: 'Invalid scope(s): file_content:read' } });
  expect(await probe('figu_abc')).toBe('unknown');
});

const notionReply = {
  access_token: 'ntn_access',
  token_type: 'bearer',
  refresh_token: 'nrt_refresh',
  bot_id: '3c90c3cc-0d44-4b50-8888-8dd25736052a',
  workspace_icon: null,
  workspace_name: 'Acme',
  workspace_id: '9a1b0000-0d44-4b50-8888-8dd25736052a',
  owner: { type: 'user', user: { object: 'user', id: 'u-1', person: { email: 'a@example.com' } } },
  duplicated_template_id: null,
  request_id: 'r-1',
};

test('notion: JSON body, version header, owner=user, no PKCE, the workspace is kept', async () => {
  const stub = await startStub();
  const notion = await notionPlugin.create(settingsOf('notion', { baseUrl: stub.url }), deps);
  const url = new URL(await notion.authorizationUrl!({ ...request, scopes: [] }));
  expect(Object.fromEntries(url.searchParams)).toEqual({
    response_type: 'code',
    client_id: 'client-1',
    redirect_uri: request.redirectUri,
    state: 's-1',
    owner: 'user',
  });
  stub.at('POST /v1/oauth/token', { body: notionReply });
  const connected = await exchange(notion);
  expect(connected).toMatchObject({
    expiresAt: null,
    metadata: {
      workspace_id: notionReply.workspace_id,
      workspace_name: 'Acme',
      owner_user_id: 'u-1',
      owner_type: 'user',
    },
  });
  expect(JSON.stringify(connected.metadata)).not.toContain('example.com');
  const { headers, body } = stub.calls.at(-1)!;
  expect(headers).toMatchObject({ 'notion-version': '2025-09-03', 'content-type': 'application/json' });
  expect(JSON.parse(body)).toEqual({
    grant_type: 'authorization_code',
    code: 'code-1',
    redirect_uri: request.redirectUri,
  });
  await notion.refresh!(connected.material.refreshToken!, call());
  expect(JSON.parse(stub.calls.at(-1)!.body)).toEqual({ grant_type: 'refresh_token', refresh_token: 'nrt_refresh' });
});

test('notion: revokes with the client, in JSON, and probes with the token', async () => {
  const stub = await startStub();
  const notion = await notionPlugin.create(settingsOf('notion', { baseUrl: stub.url }), deps);
  const material = { accessToken: new Secret('ntn_access') };
  stub.at('POST /v1/oauth/revoke', { body: { request_id: 'r-2' } });
  await notion.revoke!(material, call());
  const { headers, body } = stub.calls.at(-1)!;
  expect(headers.authorization).toMatch(/^Basic /);
  expect(JSON.parse(body)).toEqual({ token: 'ntn_access' });
  stub.at('POST /v1/oauth/revoke', { status: 400, body: { error: 'invalid_grant' } });
  await notion.revoke!(material, call());
  stub.at('POST /v1/oauth/revoke', { status: 401, body: { error: 'invalid_client' } });
  expect((await errorOf(notion.revoke!(material, call()))).code).toBe('provider_misconfigured');

  stub.at('GET /v1/users/me', { body: { object: 'user', type: 'bot' } });
  expect(await notion.probe!(material, call())).toBe('active');
  expect(stub.calls.at(-1)!.headers).toMatchObject({
    authorization: 'Bearer ntn_access',
    'notion-version': '2025-09-03',
  });
  stub.at('GET /v1/users/me', { status: 401, body: { object: 'error', code: 'unauthorized' } });
  expect(await notion.probe!(material, call())).toBe('inactive');
});

const API_KEY = `AIza${'x'.repeat(35)}`;

test('nano-banana: an API key is probed by its header; without a client there is no consent', async () => {
  const stub = await startStub();
  const settings = { service: 'nano-banana', baseUrl: stub.url, extra: {} };
  const provider = await nanoBananaPlugin.create(settings, deps);
  expect([provider.authorizationUrl, provider.refresh, provider.revoke]).toEqual([undefined, undefined, undefined]);
  const probe = () => provider.probe!({ accessToken: new Secret(API_KEY) }, call());
  stub.always({ body: { models: [] } });
  expect(await probe()).toBe('active');
  expect(stub.calls.at(-1)).toMatchObject({
    path: '/v1beta/models?pageSize=1',
    headers: { 'x-goog-api-key': API_KEY },
  });
  const refusal = (code: number, reason: string) => ({
    status: code,
    body: { error: { code, message: 'no', status: 'INVALID_ARGUMENT', details: [{ reason }] } },
  });
  stub.always(refusal(400, 'API_KEY_INVALID'));
  expect(await probe()).toBe('inactive');
  stub.always(refusal(403, 'API_KEY_HTTP_REFERRER_BLOCKED'));
  expect(await probe()).toBe('unknown');
  stub.always({ status: 429, body: {}, headers: { 'retry-after': '3' } });
  expect(await errorOf(probe())).toMatchObject({ code: 'provider_throttled', retryAfterMs: 3_000 });
  stub.always({ status: 503, body: 'down' });
  expect((await errorOf(probe())).code).toBe('provider_unavailable');
});

test('nano-banana: with a client, consent goes through Google and asks for a refresh token', async () => {
  const stub = await startStub();
  const provider = await nanoBananaPlugin.create(settingsOf('nano-banana', { baseUrl: stub.url }), deps);
  const url = new URL(await provider.authorizationUrl!({ ...request, scopes: [...provider.defaultScopes] }));
  expect(url.searchParams.get('access_type')).toBe('offline');
  expect(provider.issuer).toBe('https://accounts.google.com');
  stub.at('POST /token', { body: { access_token: 'ya29.next', expires_in: 3599, scope: 'a b' } });
  const reply = await provider.refresh!(new Secret('1//refresh'), call());
  expect(reply.material.refreshToken!.reveal()).toBe('1//refresh');
  expect(formOf(stub)).toMatchObject({ client_id: 'client-1', client_secret: CLIENT_SECRET });
  stub.at('POST /revoke', { body: '' });
  await provider.revoke!(reply.material, call());
  stub.always({ body: { models: [] } });
  expect(await provider.probe!(reply.material, call())).toBe('active');
  expect(stub.calls.at(-1)!.headers.authorization).toBe('Bearer ya29.next');
});

test('each provider knows the shape of its own keys', async () => {
  const nano = await nanoBananaPlugin.create({ service: 'nano-banana', extra: {} }, deps);
  const notion = await notionPlugin.create(settingsOf('notion'), deps);
  const figma = await figmaPlugin.create(settingsOf('figma'), deps);
  const shapes = [API_KEY, `ntn_${'1'.repeat(46)}`, `figd_${'a'.repeat(40)}`];
  const verdicts = [nano, notion, figma].map((provider) => shapes.map((shape) => provider.looksLikeToken!(shape)));
  expect(verdicts).toEqual([
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ]);
});
