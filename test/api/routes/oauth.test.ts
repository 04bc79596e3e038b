import { describe, expect, test } from 'vitest';
import { hashOf } from '../../../src/shared/credentials/exchange/authorization-flow.ts';
import { testAuthorizationServer } from '../../../testkit/servers/for-tests.ts';
import { atIssuer, services } from '../../../testkit/services.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import { type Answer, expectProblem, PUBLIC_URL, startApi } from '../support.ts';

const env = testEnvironment();
const server = await testAuthorizationServer({ redirectUri: `${PUBLIC_URL}/v1/oauth/callback` });
const api = await startApi({
  ...env,
  ...services({ acme: atIssuer(server) }),
  KEYTURN_PROVIDER_ACME_SCOPES: 'openid offline_access',
});

const events = () => api.deps.database.collection('events');
const authorizations = () => api.deps.database.collection('authorizations');

const begin = async (fields: Record<string, unknown> = {}) => {
  const body = { service: 'acme', subject: crypto.randomUUID(), ...fields };
  const { status, body: begun } = await api.call('POST', '/v1/authorizations', { body });
  expect(status).toBe(201);
  return { ...begun, subject: body.subject, startPath: begun.authorizationUrl.slice(PUBLIC_URL.length) };
};

const visit = (path: string, cookie?: string) =>
  api.call('GET', path, { key: null, headers: cookie ? { cookie } : {} });

const cookieIn = (answer: Answer) => String(answer.headers['set-cookie']).split(';')[0]!;

/** Through our start page and the provider's consent, to the callback that the browser would visit next. */
async function consented(fields: Record<string, unknown> = {}, decision: 'allow' | 'deny' = 'allow') {
  const begun = await begin(fields);
  const start = await visit(begun.startPath);
  expect(start.status).toBe(302);
  const back = await server.consent(String(start.headers.location), { decision });
  return { ...begun, cookie: cookieIn(start), callback: back.slice(PUBLIC_URL.length) };
}

/** Does by hand what the exchange worker does with the next event of that subject. */
async function settle(subject: string, set: Record<string, unknown>): Promise<void> {
  const event = await until(() => events().findOne({ 'data.subject': subject }), { what: 'the exchange event' });
  await events().updateOne({ _id: event._id }, { $set: { settledAt: new Date(), ...set } });
}

describe('the way of a person', () => {
  test('consent becomes an exchange event on behalf of who asked, and the page says how it went', async () => {
    const flow = await consented();
    const [page] = await Promise.all([
      visit(flow.callback, flow.cookie),
      settle(flow.subject, { status: 'succeeded', credentialId: 'cred_1' }),
    ]);
    expect(page.status).toBe(200);
    expect(page.text).toContain('You are connected');
    expect(page.headers['content-security-policy']).toContain("default-src 'none'");
    const event = await events().findOne({ 'data.subject': flow.subject });
    expect(event).toMatchObject({ source: 'keyturn:authorizations', sourceId: hashOf(flow.state) });
    expect(event?.principalId).toMatch(/^prn_/);
    const query = new URL(flow.callback, PUBLIC_URL).searchParams;
    expect(JSON.stringify(event)).not.toContain(query.get('code'));
  });

  test('the start page sends PKCE S256 and the state, and ties the flow to a cookie of this browser', async () => {
    const { startPath, state } = await begin({ resource: 'https://api.acme.test/' });
    const { headers } = await visit(startPath);
    const url = new URL(String(headers.location));
    expect(url.origin).toBe(server.issuer);
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      state,
      redirect_uri: `${PUBLIC_URL}/v1/oauth/callback`,
      resource: 'https://api.acme.test/',
    });
    expect(String(headers['set-cookie'])).toMatch(/^__Secure-keyturn-flow-.*HttpOnly; Secure; SameSite=Lax$/);
  });

  test('an app that names where to return to gets the person back with the outcome', async () => {
    const flow = await consented({ redirectUri: 'https://app.test/done?tab=1' });
    const [answer] = await Promise.all([
      visit(flow.callback, flow.cookie),
      settle(flow.subject, { status: 'failed', problem: { code: 'scopes_missing', detail: 'x' } }),
    ]);
    expect(answer.status).toBe(303);
    const url = new URL(String(answer.headers.location));
    expect(url.origin + url.pathname).toBe('https://app.test/done');
    expect(Object.fromEntries(url.searchParams)).toEqual({
      tab: '1',
      status: 'failed',
      event_id: expect.stringMatching(/^evt_/),
      error: 'scopes_missing',
    });
  });

  test('a person who declines is told so, and it is on the record', async () => {
    const flow = await consented({}, 'deny');
    const page = await visit(flow.callback, flow.cookie);
    expect(page.status).toBe(400);
    expect(page.text).toContain('Nothing was connected');
    const { body } = await api.call('GET', '/v1/audit?type=authorization.refused&limit=200');
    expect(body.items).toContainEqual(
      expect.objectContaining({ subject: flow.subject, reason: 'consent_denied', outcome: 'denied' }),
    );
    expect(await events().countDocuments({ 'data.subject': flow.subject })).toBe(0);
  });
});

describe('what is refused on the way back', () => {
  const refused = async (answer: Answer, subject: string) => {
    expect(answer.status).toBe(400);
    expect(answer.text).toContain('The connection did not succeed');
    expect(await events().countDocuments({ 'data.subject': subject })).toBe(0);
  };

  test('the state of another browser, and it stays good for the right one', async () => {
    const flow = await consented({ redirectUri: 'https://app.test/done' });
    await refused(await visit(flow.callback), flow.subject);
    await refused(await visit(flow.callback, flow.cookie.replace(/=.*/, '=forged')), flow.subject);
    const [answer] = await Promise.all([
      visit(flow.callback, flow.cookie),
      settle(flow.subject, { status: 'succeeded' }),
    ]);
    expect(answer.status).toBe(303);
  });

  test('a second browser at the start page', async () => {
    const { startPath } = await begin();
    const first = await visit(startPath);
    expect((await visit(startPath)).status).toBe(400);
    expect((await visit(startPath, cookieIn(first))).status).toBe(302);
  });

  test('a state that was used: one of two answers at once wins, and none comes after', async () => {
    const flow = await consented();
    const [first, second] = await Promise.all([
      visit(flow.callback, flow.cookie),
      visit(flow.callback, flow.cookie),
      settle(flow.subject, { status: 'succeeded' }),
    ]);
    expect([first.status, second.status].sort()).toEqual([200, 400]);
    expect((await visit(flow.callback, flow.cookie)).status).toBe(400);
    expect(await events().countDocuments({ 'data.subject': flow.subject })).toBe(1);
  });

  test('a state that is unknown, missing, doubled or too old', async () => {
    const flow = await consented();
    await refused(await visit('/v1/oauth/callback?code=x&state=nobodys'), flow.subject);
    await refused(await visit('/v1/oauth/callback?code=x'), flow.subject);
    expectProblem(await visit('/v1/oauth/callback?state=a&state=b'), 400, 'invalid_request');
    await authorizations().updateOne({ _id: hashOf(flow.state) }, { $set: { expiresAt: new Date() } });
    await refused(await visit(flow.callback, flow.cookie), flow.subject);
    expect((await visit(flow.startPath, flow.cookie)).status).toBe(400);
  });

  test('the answer of another authorization server (RFC 9207), which ends the flow', async () => {
    const flow = await consented();
    const url = new URL(flow.callback, PUBLIC_URL);
    url.searchParams.set('iss', 'https://evil.test');
    await refused(await visit(url.pathname + url.search, flow.cookie), flow.subject);
    await refused(await visit(flow.callback, flow.cookie), flow.subject);
  });

  test('the flow of a principal whose key was revoked meanwhile', async () => {
    const flow = await consented();
    const doc = await authorizations().findOne({ _id: hashOf(flow.state) });
    const principals = api.deps.database.collection('principals');
    await principals.updateOne({ _id: doc!.principalId }, { $set: { revokedAt: new Date() } });
    await refused(await visit(flow.callback, flow.cookie), flow.subject);
    await principals.updateOne({ _id: doc!.principalId }, { $set: { revokedAt: null } });
  });
});

describe('what is refused at the beginning', () => {
  const ask = (body: Record<string, unknown>, key?: string) =>
    api.call('POST', '/v1/authorizations', { body: { subject: 's', ...body }, ...(key && { key }) });

  test('an unknown service, a missing permission, an unsafe place to return to', async () => {
    expectProblem(await ask({ service: 'nobody' }), 400, 'unknown_service');
    expectProblem(await ask({ service: 'acme' }, await api.keyWith('acme:read')), 403, 'permission_denied');
    for (const redirectUri of ['http://app.test/', 'javascript:alert(1)', '/relative']) {
      expectProblem(await ask({ service: 'acme', redirectUri }), 400, 'invalid_request');
    }
  });

  test('promise 1: state, verifier and cookie lie nowhere in the clear', async () => {
    const { state, startPath } = await begin();
    const cookie = cookieIn(await visit(startPath)).split('=')[1]!;
    const doc = JSON.stringify(await authorizations().findOne({ _id: hashOf(state) }));
    expect(doc).not.toContain(state);
    expect(doc).not.toContain(cookie);
    expect(doc).toContain('"jwe"');
  });
});
