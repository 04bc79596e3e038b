import { beforeAll, describe, expect, test } from 'vitest';
import { openBrowser } from '../../local/tools/browser.ts';
import { freePort } from '../../local/tools/ports.ts';
import { type Answer, toAnswer } from '../../testkit/messages/caller.ts';
import { BATCH, cloudEvent } from '../../testkit/messages/events.ts';
import type { AuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { codeFor } from './load.ts';
import {
  acceptedId,
  acmeOn,
  authorize,
  connect,
  type Keyturn,
  makeKeyturn,
  openWork,
  outcomeOf,
  startServerFor,
  walkToCallback,
} from './support.ts';

const env = testEnvironment();
let server: AuthorizationServer;
let keyturn: Keyturn;

beforeAll(async () => {
  const port = await freePort();
  server = await startServerFor(port);
  keyturn = await makeKeyturn({ ...env, ...acmeOn(server), KEYTURN_PORT: String(port) });
  await Promise.all([keyturn.startApi(), keyturn.startWorkers()]);
  return () => server.stop();
});

/** RFC 9457, with the stable code and words for whoever must act. */
function expectProblem(answer: Answer, status: number, code: string, advice: RegExp): void {
  expect(answer.status, answer.text).toBe(status);
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  expect(answer.body).toMatchObject({ type: `https://keyturn.dev/problems/${code}`, status });
  expect(`${answer.body.title} ${answer.body.detail ?? ''}`).toMatch(advice);
}

const importOf = (subject: string) => ({ service: 'acme', subject, accessToken: `key-${subject}` });
const eventOf = (data: object, more = {}) => cloudEvent('credential.import.requested', data, more);

describe('what is not valid is refused with what to do, and leaves nothing behind', () => {
  test('promise 2: an unknown service', async () => {
    const before = (await keyturn.events()).length;
    const data = { service: 'nobody', subject: 'ada', accessToken: 'x' };
    expectProblem(
      await keyturn.send('credential.import.requested', data),
      400,
      'unknown_service',
      /Configured are: acme/,
    );
    const begun = await keyturn.call('POST', '/v1/authorizations', { service: 'nobody', subject: 'ada' });
    expectProblem(begun, 400, 'unknown_service', /Configured are/);
    expect(await keyturn.events()).toHaveLength(before);
  });

  test('promise 2: a malformed event in a batch harms none of its neighbours', async () => {
    const batch = [
      eventOf(importOf('batch-1')),
      { specversion: '1.0', id: 'no-source', type: 'credential.import.requested', data: {} },
      eventOf(importOf('batch-2'), { type: 'credential.teleport.requested' }),
      'not an event',
      eventOf(importOf('batch-3')),
    ];
    const answer = await keyturn.call('POST', '/v1/events', batch, BATCH);
    expect(answer.status).toBe(202);
    const results = answer.body.results as { status: string; eventId: string; problem?: { detail: string } }[];
    expect(results.map(({ status }) => status)).toEqual(['accepted', 'rejected', 'rejected', 'rejected', 'accepted']);
    expect(results[1]!.problem!.detail).toMatch(/source/);
    expect(results[2]!.problem!.detail).toMatch(/type/);
    for (const { eventId } of [results[0]!, results[4]!]) {
      expect(await outcomeOf(keyturn, eventId)).toMatchObject({ status: 'succeeded' });
    }
    const made = await keyturn.credentials({ subject: /^batch-/ });
    expect(made.map(({ subject, state }) => `${subject} ${state}`).sort()).toEqual([
      'batch-1 active',
      'batch-3 active',
    ]);
  });

  test('a wrong content type, a body that is no JSON, one that is too large', async () => {
    const before = (await keyturn.events()).length;
    const post = (body: string, type: string) => keyturn.call('POST', '/v1/events', body, { 'content-type': type });
    expectProblem(await post('<event/>', 'application/xml'), 415, 'unsupported_media_type', /content types/);
    expectProblem(await post('{"id": ', 'application/cloudevents+json'), 400, 'invalid_request', /well-formed/);
    const large = JSON.stringify(eventOf({ ...importOf('large'), accessToken: 'x'.repeat(9 * 1024 * 1024) }));
    expectProblem(await post(large, 'application/cloudevents+json'), 413, 'payload_too_large', /less/);
    expect(await keyturn.events()).toHaveLength(before);
  });

  test("promise 10: another tenant's ids are those of nothing", async () => {
    const made = await keyturn.call('POST', '/v1/tenants', { name: 'other' });
    const stranger = keyturn.as((made.body.admin as { key: string }).key);
    const eventId = acceptedId(await keyturn.send('credential.import.requested', importOf('mine')));
    const credentialId = (await outcomeOf(keyturn, eventId)).credentialId as string;
    const nothing = `cred_${'0'.repeat(32)}`;
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/token'],
      ['POST', '/refresh'],
      ['POST', '/revoke'],
      ['POST', '/quarantine'],
      ['DELETE', ''],
    ] as const) {
      const [theirs, absent] = await Promise.all(
        [credentialId, nothing].map((id) => stranger(method, `/v1/credentials/${id}${path}`)),
      );
      expectProblem(theirs!, 404, 'not_found', /no such object/);
      expect(theirs!.text.replaceAll(credentialId, nothing)).toBe(absent!.text);
    }
    expectProblem(await stranger('GET', `/v1/events/${eventId}`), 404, 'not_found', /no such object/);
    expect((await stranger('GET', '/v1/credentials')).body.items).toEqual([]);
    expect((await keyturn.credentials({ _id: credentialId }))[0]).toMatchObject({ state: 'active', generation: 1 });
  });
});

describe("a person's way that is not as it should be ends on a page that says so", () => {
  async function untouched(subject: string) {
    expect(await keyturn.credentials({ subject })).toEqual([]);
  }

  test('a state that is replayed', async () => {
    const browser = openBrowser();
    const callback = await walkToCallback(server, await authorize(keyturn, 'acme', 'replay'), browser);
    expect((await browser.request(callback)).status).toBe(200);
    const again = await toAnswer(await browser.request(callback));
    expect(again.status).toBe(400);
    expect(again.text).toMatch(/begin again[\s\S]*state_invalid/i);
    expect(await keyturn.events({ 'data.subject': 'replay' })).toHaveLength(1);
  });

  test('the state of another browser, whose own person is not hindered', async () => {
    const browser = openBrowser();
    const callback = await walkToCallback(server, await authorize(keyturn, 'acme', 'stolen'), browser);
    const thief = await toAnswer(await openBrowser().request(callback));
    expect(thief.status).toBe(400);
    expect(thief.text).toMatch(/in one browser[\s\S]*state_invalid/);
    await untouched('stolen');
    expect((await browser.request(callback)).status).toBe(200);
  });

  test('the `iss` of another server (RFC 9207)', async () => {
    const browser = openBrowser();
    const callback = new URL(await walkToCallback(server, await authorize(keyturn, 'acme', 'mixed-up'), browser));
    expect(callback.searchParams.get('iss')).toBe(server.issuer);
    callback.searchParams.set('iss', 'https://evil.example');
    const answer = await toAnswer(await browser.request(callback));
    expect(answer.status).toBe(400);
    expect(answer.text).toMatch(/Nothing was connected[\s\S]*issuer_mismatch/);
    await untouched('mixed-up');
  });

  test('a person who declines', async () => {
    const browser = openBrowser();
    const { url } = await browser.follow(await authorize(keyturn, 'acme', 'declines'), {
      stop: ({ origin }) => origin === server.issuer,
    });
    const answer = await toAnswer(await browser.request(await server.consent(url, { browser, decision: 'deny' })));
    expect(answer.status).toBe(400);
    expect(answer.text).toMatch(/Nothing was connected[\s\S]*consent_denied/);
    await untouched('declines');
  });

  test('scopes that are not granted', async () => {
    server.withholdScopes(['read']);
    const page = await connect(keyturn, server, { subject: 'stingy' }).finally(() => server.withholdScopes([]));
    expect(page.text).toMatch(/boxes of the consent page[\s\S]*scopes_missing/);
    await untouched('stingy');
  });

  test('a code that is used twice: the second event fails, the first keeps its own outcome', async () => {
    const data = await codeFor(server, 'twice');
    const first = await outcomeOf(keyturn, acceptedId(await keyturn.send('credential.exchange.requested', data)));
    expect(first).toMatchObject({ status: 'succeeded' });
    const second = { ...data, subject: 'twice-again' };
    const event = await outcomeOf(keyturn, acceptedId(await keyturn.send('credential.exchange.requested', second)));
    expect(event).toMatchObject({
      status: 'failed',
      problem: { type: 'https://keyturn.dev/problems/provider_rejected' },
    });
    await untouched('twice-again');
  });
});

test('nothing is left half done: no event is open, no lease is held', async () => {
  expect(await openWork(keyturn)).toEqual([]);
});
