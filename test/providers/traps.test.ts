import { expect, test } from 'vitest';
import { AppError } from '../../src/shared/platform/errors.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { plugin } from '../../src/shared/providers/plugins/oauth2.ts';
import { REPLIES, type StubAnswer } from '../../testkit/providers/stub-provider.ts';
import { CLIENT_SECRET, call, deps, errorOf, hasty, settingsOf, startStub } from './support.ts';

const stub = await startStub();
const NOW = Date.parse('2026-11-24T12:00:00Z');
const settings = settingsOf('stubbed', {
  extra: {
    authorize_url: `${stub.url}/authorize`,
    token_url: `${stub.url}/token`,
    revoke_url: `${stub.url}/revoke`,
    introspect_url: `${stub.url}/introspect`,
  },
});
const provider = await plugin.create(settings, { ...deps, clock: { now: () => NOW } });

const old = new Secret('old-refresh');
const refresh = (answer: StubAnswer) => {
  stub.always(answer);
  return provider.refresh!(old, call());
};
const refreshError = (answer: StubAnswer) => errorOf(refresh(answer));
const tokens = (more: object) => ({ body: { access_token: 'new-access', token_type: 'Bearer', ...more } });

test('a reply without a refresh token keeps the old one (RFC 6749 §6)', async () => {
  const kept = await refresh(tokens({ expires_in: 60 }));
  expect(kept.material.refreshToken?.reveal()).toBe('old-refresh');
  const empty = await refresh(tokens({ refresh_token: '' }));
  expect(empty.material.refreshToken?.reveal()).toBe('old-refresh');
  const replaced = await refresh(tokens({ refresh_token: 'new-refresh' }));
  expect(replaced.material.refreshToken?.reveal()).toBe('new-refresh');
});

test.each([
  ['seconds', { expires_in: 3600 }, NOW + 3600_000],
  ['a string', { expires_in: '3600' }, NOW + 3600_000],
  ['absent', {}, null],
  ['null', { expires_in: null }, null],
  ['zero', { expires_in: 0 }, null],
  ['words', { expires_in: 'never' }, null],
  ['a point in time in seconds', { expires_in: NOW / 1000 + 60 }, NOW + 60_000],
  ['a point in time in milliseconds', { expires_in: NOW + 60_000 }, NOW + 60_000],
  ['expires_at in seconds', { expires_at: NOW / 1000 + 60 }, NOW + 60_000],
  ['expires_at in milliseconds', { expires_at: NOW + 60_000 }, NOW + 60_000],
  ['expires_at as a date', { expires_at: '2026-11-24T13:00:00Z' }, NOW + 3600_000],
  ['expires_at null', { expires_at: null }, null],
  ['expires_in null beside expires_at', { expires_in: null, expires_at: NOW / 1000 + 60 }, NOW + 60_000],
])('an expiry that is %s is read right', async (_, fields, expected) => {
  expect((await refresh(tokens(fields))).expiresAt).toBe(expected);
});

test('scopes, token type, ID token and expiry of the refresh token are read', async () => {
  const reply = await refresh(tokens({ scope: 'read write', id_token: 'idt', refresh_token_expires_in: 100 }));
  expect(reply).toMatchObject({ scopes: ['read', 'write'], tokenType: 'Bearer', refreshExpiresAt: NOW + 100_000 });
  expect(reply.material.idToken?.reveal()).toBe('idt');
  expect((await refresh(tokens({}))).scopes).toBeNull();
});

test('a form-encoded reply is not thrown away: its tokens may be the last of the grant', async () => {
  const text = 'access_token=new%2Daccess&refresh_token=r%2B2&expires_in=60&scope=read';
  const reply = await refresh({ body: text, headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  expect(reply.material.accessToken.reveal()).toBe('new-access');
  expect(reply.material.refreshToken?.reveal()).toBe('r+2');
  expect(reply.expiresAt).toBe(NOW + 60_000);
  expect(stub.calls.at(-1)?.headers.accept).toBe('application/json');
});

const CANARY = 'canary-body-4711';
const html = `<html><body>${CANARY}</body></html>`;

test.each<[string, StubAnswer, string]>([
  [
    'invalid_grant',
    { status: 400, body: { error: 'invalid_grant', error_description: CANARY } },
    'provider_grant_ended',
  ],
  ['a 200 with an error', { body: { error: 'bad_refresh_token', error_description: CANARY } }, 'provider_grant_ended'],
  ['a 200 with ok false', { body: { ok: false, error: 'ratelimited', access_token: CANARY } }, 'provider_throttled'],
  ['a 200 with an error that we do not know', { body: { error: CANARY } }, 'provider_rejected'],
  ['a 200 without tokens', { body: { hello: CANARY } }, 'provider_unavailable'],
  ['a 200 with null', { body: null }, 'provider_unavailable'],
  ['a 200 with a list', { body: [CANARY] }, 'provider_unavailable'],
  ['a 200 with a string', { body: JSON.stringify(CANARY) }, 'provider_unavailable'],
  ['an empty 200', { body: '' }, 'provider_unavailable'],
  ['a 200 with HTML', { body: html, headers: { 'content-type': 'text/html' } }, 'provider_unavailable'],
  ['garbage that claims to be JSON', { body: `{"access_token": ${CANARY}` }, 'provider_unavailable'],
  ['invalid_client', { status: 401, body: { error: 'invalid_client' } }, 'provider_misconfigured'],
  ['unauthorized_client', { status: 400, body: { error: 'unauthorized_client' } }, 'provider_misconfigured'],
  ['invalid_scope', { status: 400, body: { error: 'invalid_scope' } }, 'provider_rejected'],
  ['an unknown 400', { status: 400, body: { error: true, message: CANARY } }, 'provider_rejected'],
  ['an unknown 403', { status: 403, body: { message: CANARY } }, 'provider_rejected'],
  [
    'a 403 of a firewall',
    { status: 403, body: html, headers: { 'content-type': 'text/html' } },
    'provider_unavailable',
  ],
  [
    'a 404 of a misrouted proxy',
    { status: 404, body: html, headers: { 'content-type': 'text/html' } },
    'provider_unavailable',
  ],
  ['a 500', { status: 500, body: { error: 'server_error' } }, 'provider_unavailable'],
  ['a 503 with HTML', { status: 503, body: html, headers: { 'content-type': 'text/html' } }, 'provider_unavailable'],
  ['a redirect', { status: 302, headers: { location: '/elsewhere' }, body: '' }, 'provider_unavailable'],
  ['a huge body', { body: `"${CANARY}${'x'.repeat(500_000)}"` }, 'provider_unavailable'],
])('%s is told apart, and nothing of the body is in the error', async (_, answer, code) => {
  const error = await refreshError(answer);
  expect(error).toBeInstanceOf(AppError);
  expect(error.code).toBe(code);
  const { inspect } = await import('node:util');
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(CANARY);
});

test('the real status of an HTML reply is known', async () => {
  const error = (await refreshError({ status: 503, body: html, headers: { 'content-type': 'text/html' } })) as AppError;
  expect(error.internal).toContain('status 503');
});

test('a rate limit carries the time to come back, in seconds or as a date', async () => {
  const inSeconds = await refreshError({ status: 429, body: html, headers: { 'retry-after': '7' } });
  expect(inSeconds).toMatchObject({ code: 'provider_throttled', retryAfterMs: 7_000 });
  const date = new Date(NOW + 90_000).toUTCString();
  const asDate = await refreshError({ status: 429, body: {}, headers: { 'retry-after': date } });
  expect(asDate).toMatchObject({ code: 'provider_throttled', retryAfterMs: 90_000 });
  const senseless = await refreshError({ status: 429, body: {}, headers: { 'retry-after': 'soon' } });
  expect(senseless).toMatchObject({ code: 'provider_throttled', retryAfterMs: undefined });
});

test.each([
  ['a provider that never answers', REPLIES.hang],
  ['a body that trickles', REPLIES.trickle],
])('%s is left after the time-out', async (_, answer) => {
  stub.always(answer);
  const impatient = await plugin.create(settings, hasty);
  expect((await errorOf(impatient.refresh!(old, call()))).code).toBe('provider_unavailable');
});

test('a connection that is cut is an outage', async () => {
  const error = (await refreshError(REPLIES.reset)) as AppError;
  expect(error).toMatchObject({ code: 'provider_unavailable', internal: 'refresh: ECONNRESET' });
});

test('a refused connection is an outage, named by its system error', async () => {
  const gone = await startStub();
  await gone.stop();
  const dead = await plugin.create(settingsOf('dead', { extra: { token_url: `${gone.url}/token` } }), deps);
  const error = await errorOf(dead.refresh!(old, call()));
  expect(error).toMatchObject({ code: 'provider_unavailable', internal: 'refresh: ECONNREFUSED' });
});

test('an abort ends the call at once: as interrupted, or as an outage when a time-out did it', async () => {
  stub.always(REPLIES.hang);
  const controller = new AbortController();
  const interrupted = errorOf(provider.refresh!(old, { signal: controller.signal }));
  controller.abort();
  expect((await interrupted).code).toBe('interrupted');
  expect((await errorOf(provider.refresh!(old, { signal: controller.signal }))).code).toBe('interrupted');
  const late = await errorOf(provider.refresh!(old, { signal: AbortSignal.timeout(20) }));
  expect(late.code).toBe('provider_unavailable');
});

test('connections are kept alive over many refreshes', async () => {
  const before = stub.connections();
  for (let i = 0; i < 20; i++) await refresh(tokens({}));
  expect(stub.connections() - before).toBeLessThanOrEqual(1);
});

test('many calls may share one signal without a warning', async () => {
  const warnings: unknown[] = [];
  const note = (warning: unknown) => warnings.push(warning);
  process.on('warning', note);
  stub.always(tokens({}));
  const shared = call();
  await Promise.all(Array.from({ length: 50 }, () => provider.refresh!(old, shared)));
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  expect(warnings).toEqual([]);
});

test('the client authenticates in form encoding, so that any character survives', async () => {
  await refresh(tokens({}));
  const [, basic = ''] = stub.calls.at(-1)!.headers.authorization!.split(' ');
  const [id, secret = ''] = Buffer.from(basic, 'base64').toString().split(':');
  expect([id, decodeURIComponent(secret)]).toEqual(['client-1', CLIENT_SECRET]);
  stub.always({ body: { active: true } });
  await provider.introspectRefreshToken!(old, call());
  expect(stub.calls.at(-1)!.headers.authorization).toBe(`Basic ${basic}`);
});

test('a public client sends its id and no secret, not even an empty one', async () => {
  const publicSettings = settingsOf('public', { clientSecret: undefined });
  const open = await plugin.create(
    { ...publicSettings, extra: { token_url: `${stub.url}/token`, client_auth: 'none' } },
    deps,
  );
  stub.always(tokens({}));
  await open.refresh!(old, call());
  expect(Object.fromEntries(new URLSearchParams(stub.calls.at(-1)!.body))).toEqual({
    client_id: 'client-1',
    grant_type: 'refresh_token',
    refresh_token: 'old-refresh',
  });
});

test('a revocation takes the empty 200 of RFC 7009 for success, and an unknown token too', async () => {
  stub.always({ status: 200, body: '', headers: { 'content-type': 'text/plain' } });
  const material = { accessToken: new Secret('a'), refreshToken: new Secret('r') };
  await provider.revoke!(material, call());
  expect(stub.calls.slice(-2).map(({ body }) => body)).toEqual([
    'token=r&token_type_hint=refresh_token',
    'token=a&token_type_hint=access_token',
  ]);
  stub.always({ status: 400, body: { error: 'invalid_token' } });
  await provider.revoke!(material, call());
  stub.always({ status: 503, body: 'down' });
  expect((await errorOf(provider.revoke!(material, call()))).code).toBe('provider_unavailable');
});

test('an access token that cannot be revoked is no failure when the grant has ended', async () => {
  stub.always(({ body }) =>
    body.includes('refresh_token') ? { body: '' } : { status: 400, body: { error: 'unsupported_token_type' } },
  );
  const accessToken = new Secret('jwt');
  await provider.revoke!({ accessToken, refreshToken: new Secret('r') }, call());
  expect((await errorOf(provider.revoke!({ accessToken }, call()))).code).toBe('provider_unsupported');
});

test('a slow reply makes a token look older, never younger', async () => {
  let now = NOW;
  const extra = { token_url: `${stub.url}/token` };
  const slow = await plugin.create(settingsOf('slow', { extra }), { ...deps, clock: { now: () => now } });
  stub.always(() => {
    now += 5_000;
    return { body: { access_token: 'a', expires_in: 60 } };
  });
  expect((await slow.refresh!(old, call())).expiresAt).toBe(NOW + 60_000);
});
