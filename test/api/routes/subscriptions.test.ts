import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Entry } from '../../../src/shared/store/audit/inbox.ts';
import { makeEntry } from '../../../src/shared/store/entry.ts';
import { type Receiver, startReceiver } from '../../../testkit/servers/receiver.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import { PUBLIC_URL, startApi, type TestApi } from '../support.ts';

let api: TestApi;
let receiver: Receiver;
let tenantId: string;

beforeAll(async () => {
  receiver = await startReceiver();
  api = await startApi(
    testEnvironment({
      KEYTURN_ALLOW_PRIVATE_WEBHOOKS: 'true',
      KEYTURN_CHECKPOINT_SECONDS: '0',
    }),
  );
  await api.startWorkers();
  tenantId = (await api.deps.database.collection('tenants').findOne({}))!._id;
});
afterAll(() => receiver.stop());

/** Something happens; the entry's id is the message's. */
async function happen(type: string, fields: Partial<Entry> = {}): Promise<string> {
  const entry = makeEntry(api.deps, { tenantId, type, actor: { kind: 'system', id: 'test' }, ...fields });
  await api.deps.commit({ operations: [], entries: [entry] });
  return entry._id;
}

async function subscribe(path: string, fields: Record<string, unknown> = {}) {
  const body = { name: path, sink: 'webhook', settings: { url: `${receiver.url}${path}` }, ...fields };
  const answer = await api.call('POST', '/v1/subscriptions', { body });
  expect(answer.status).toBe(201);
  return answer.body as { id: string; secret: string };
}

const messagesAt = (path: string) => receiver.received.filter((message) => message.path === path);
const shown = async (id: string) => (await api.call('GET', `/v1/subscriptions/${id}`)).body;
const act = (id: string, what: string, body: unknown = {}) =>
  api.call('POST', `/v1/subscriptions/${id}/${what}`, what === 'pause' || what === 'resume' ? {} : { body });
const arrival = (path: string, id: string) =>
  until(() => messagesAt(path).find(({ headers }) => headers['webhook-id'] === id), { what: `${id} at ${path}` });

describe('a subscription', () => {
  test('is told by a signature that its secret verifies, and only what its filter lets through', async () => {
    const { secret } = await subscribe('/filtered', { filter: { types: ['credential.*'], services: ['figma'] } });
    await happen('credential.refreshed', { service: 'notion' });
    await happen('principal.created', { service: 'figma' });
    const id = await happen('credential.refreshed', { service: 'figma', subject: 'ada' });
    const { headers, body } = await arrival('/filtered', id);
    const payload = new Webhook(secret).verify(body, headers as Record<string, string>);
    expect(payload).toMatchObject({ type: 'credential.refreshed', data: { id, service: 'figma', subject: 'ada' } });
    expect(messagesAt('/filtered')).toHaveLength(1);
    expect(body).not.toContain('"mac"');
  });

  test('gets both signatures while its secret is replaced, and the secret is shown once', async () => {
    const { id, secret: old } = await subscribe('/rotated');
    const answer = await act(id, 'rotate-secret', { overlapSeconds: 60 });
    expect(answer.status).toBe(200);
    const message = await arrival('/rotated', await happen('credential.rotated'));
    for (const secret of [old, answer.body.secret]) {
      new Webhook(secret).verify(message.body, message.headers as Record<string, string>);
    }
    expect(JSON.stringify(await shown(id))).not.toContain(answer.body.secret);
  });

  test('is not told while it is paused, and is told everything after it was resumed', async () => {
    const { id } = await subscribe('/paused', { filter: { types: ['paused.*'] } });
    expect((await act(id, 'pause')).body).toMatchObject({ state: 'paused' });
    const ids = [await happen('paused.one'), await happen('paused.two')];
    await arrivalElsewhere();
    expect(messagesAt('/paused')).toEqual([]);
    await act(id, 'resume');
    for (const one of ids) await arrival('/paused', one);
  });

  /** Until everything so far has been told to somebody else. */
  async function arrivalElsewhere(): Promise<void> {
    await subscribe('/elsewhere', { filter: { types: ['elsewhere'] } });
    await arrival('/elsewhere', await happen('elsewhere'));
  }

  test('is disabled by a 410, on the record, and goes on after it was resumed without a loss', async () => {
    const { id } = await subscribe('/gone', { filter: { types: ['gone'] } });
    receiver.answer('/gone', { status: 410 });
    const first = await happen('gone');
    await until(async () => (await shown(id)).state === 'disabled', { what: 'it to be disabled' });
    const entry = await until(() => api.deps.database.collection('audit').findOne({ type: 'subscription.disabled' }), {
      what: 'the entry',
    });
    expect(entry).toMatchObject({ reason: 'gone', detail: { subscriptionId: id } });
    receiver.answer('/gone', 'accept');
    await act(id, 'resume');
    await act(id, 'replay', { fromSeq: 1 });
    await until(() => receiver.accepted('/gone').has(first), { what: 'the first message' });
  });

  test('a redirect and an error are failures, with the reason on the delivery; Retry-After is honoured', async () => {
    const { id } = await subscribe('/moved', { filter: { types: ['moved'] } });
    receiver.answer('/moved', { status: 302, headers: { location: `${receiver.url}/elsewhere2` } });
    await happen('moved');
    const deliveries = async () => (await api.call('GET', `/v1/subscriptions/${id}/deliveries`)).body.items;
    const failed = await until(async () => (await deliveries())[0], { what: 'the failure' });
    expect(failed).toMatchObject({ status: 'retrying', attempts: 1, lastError: { reason: 'status', status: 302 } });
    expect(messagesAt('/elsewhere2')).toEqual([]);

    receiver.answer('/moved', { status: 429, headers: { 'retry-after': '3600' } });
    await happen('moved');
    const resting = await until(async () => (await shown(id)).notBefore, { what: 'the rest' });
    expect(Date.parse(resting) - Date.now()).toBeGreaterThan(3_000_000);
  });

  test('a message that has to wait for its retry does not hold up the next', async () => {
    const { id } = await subscribe('/held', { filter: { types: ['held'] } });
    receiver.answer('/held', { status: 500 });
    await happen('held');
    const subscriptions = api.deps.database.collection('subscriptions');
    const isAtRest = async () => (await subscriptions.findOne({ _id: id, lease: null, failures: 1 })) !== null;
    await until(isAtRest, { what: 'the failure' });
    const inAnHour = new Date(Date.now() + 3_600_000);
    const later = { $set: { nextAttemptAt: inAnHour } };
    await api.deps.database.collection('deliveries').updateMany({ subscriptionId: id }, later);
    await subscriptions.updateOne({ _id: id }, { $set: { dueAt: inAnHour } });
    receiver.answer('/held', 'accept');
    await arrival('/held', await happen('held'));
    const kept = await until(() => subscriptions.findOne({ _id: id, lease: null, failures: 0 }), { what: 'rest' });
    expect(kept.dueAt).toEqual(inAnHour);
  });

  test('replay tells from a seq on, with the same ids, and refuses to skip', async () => {
    const { id } = await subscribe('/replayed', { filter: { types: ['replayed'] } });
    const one = await happen('replayed');
    await arrival('/replayed', one);
    await until(async () => (await shown(id)).cursor > 0, { what: 'the cursor' });
    expect((await act(id, 'replay', { fromSeq: 1 })).status).toBe(202);
    await until(() => receiver.accepted('/replayed').get(one) === 2, { what: 'the second time' });
    expect((await act(id, 'replay', { fromSeq: 1_000_000 })).status).toBe(400);
  });

  test('ends when it is deleted', async () => {
    const { id } = await subscribe('/deleted');
    expect((await api.call('DELETE', `/v1/subscriptions/${id}`)).status).toBe(204);
    expect((await api.call('GET', `/v1/subscriptions/${id}`)).status).toBe(404);
  });

  test.each([
    ['an unknown sink', { sink: 'pigeon' }, 'choose one of: bullmq, ocsf-jsonl, ssf-push, webhook'],
    ['a setting that the sink does not know', { settings: { url: 'https://a.example', colour: 'red' } }, 'settings'],
    ['no URL', { settings: {} }, 'body.settings.url'],
    ['a URL with a password', { settings: { url: 'https://a:b@c.example' } }, 'body.settings.url'],
    ['a secret where none is taken', { secret: 'x' }, 'body.secret'],
  ])('is refused with %s', async (_, fields, detail) => {
    const body = { name: 'x', sink: 'webhook', settings: { url: receiver.url }, ...fields };
    const answer = await api.call('POST', '/v1/subscriptions', { body });
    expect(answer.status).toBe(400);
    expect(answer.body.detail).toContain(detail);
  });

  test('of another tenant is not there, and each act needs its permission', async () => {
    const { id } = await subscribe('/mine');
    const { key } = await api.otherTenant();
    for (const path of ['', '/deliveries']) {
      expect((await api.call('GET', `/v1/subscriptions/${id}${path}`, { key })).status).toBe(404);
    }
    for (const what of ['pause', 'resume', 'replay', 'rotate-secret']) {
      const body = what === 'replay' ? { fromSeq: 1 } : {};
      expect((await api.call('POST', `/v1/subscriptions/${id}/${what}`, { key, body })).status).toBe(404);
    }
    const reader = await api.keyWith('subscriptions:read');
    expect((await api.call('GET', `/v1/subscriptions/${id}`, { key: reader })).status).toBe(200);
    expect((await api.call('DELETE', `/v1/subscriptions/${id}`, { key: reader })).status).toBe(403);
    expect((await api.call('GET', '/v1/audit/export', { key: reader })).status).toBe(403);
  });
});

describe('evidence', () => {
  test('signed heads are published on their own and handed to subscribers', async () => {
    await subscribe('/checkpoints', { filter: { types: ['audit.checkpoint'] } });
    await happen('something');
    const message = await until(() => messagesAt('/checkpoints')[0], { what: 'a checkpoint' });
    const { note } = JSON.parse(message.body).data.detail;
    expect(note).toMatch(new RegExp(`^keyturn/${tenantId}\n\\d+\n`));
    expect((await api.call('GET', '/v1/audit/checkpoint')).body).toMatchObject({
      note: expect.stringContaining('keyturn/'),
    });
  });

  test('an idle log is not signed again and again', async () => {
    const count = () => api.deps.database.collection('checkpoints').countDocuments({ tenantId });
    const isQuiet = async () =>
      (await api.deps.database.collection('audit_inbox').countDocuments({ tenantId })) === 0 &&
      !(await api.deps.database.collection('audit_heads').findOne({ _id: tenantId }))?.dueAt;
    await until(isQuiet, { what: 'the log to rest' });
    const before = await count();
    await until(isQuiet, { what: 'the log to rest still' });
    expect(await count()).toBe(before);
  });

  test('an export begins with the keys and ends with the checkpoint of its last entry', async () => {
    const headers = { authorization: `Bearer ${api.adminKey}` };
    const { statusCode: status, body } = await api.app.inject({ url: '/v1/audit/export', headers });
    const lines = body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(status).toBe(200);
    expect(lines[0]).toMatchObject({ kind: 'header', tenantId });
    expect(lines.at(-1)!.note).toContain(`\n${lines.at(-2)!.entry.seq}\n`);
    expect(lines.some(({ entry }) => entry?.type === 'audit.exported')).toBe(true);
  });
});

describe('shared signals', () => {
  test('a revocation is pushed as a security event token that the published key verifies', async () => {
    const settings = { url: `${receiver.url}/ssf`, audience: 'https://receiver.example' };
    receiver.answer('/ssf', { status: 202 });
    const { secret } = await subscribe('/ssf', { sink: 'ssf-push', settings, secret: 'given-by-receiver' });
    expect(secret).toBeNull();
    const jti = await happen('credential.revoked', { subject: 'ada', service: 'figma', reason: 'leaked' });
    const { headers, body } = await until(() => messagesAt('/ssf')[0], { what: 'the token' });
    expect(headers).toMatchObject({
      'content-type': 'application/secevent+jwt',
      authorization: 'Bearer given-by-receiver',
    });
    const jwks = (await api.call('GET', '/.well-known/jwks.json', { key: null })).body;
    expect(JSON.stringify(jwks)).not.toContain('"d"');
    const { payload } = await jwtVerify(body, createLocalJWKSet(jwks), {
      issuer: PUBLIC_URL,
      audience: settings.audience,
    });
    expect(decodeProtectedHeader(body)).toMatchObject({ typ: 'secevent+jwt', alg: 'RS256' });
    expect(payload).toMatchObject({
      jti,
      sub_id: { format: 'opaque', id: 'ada' },
      events: {
        'https://schemas.openid.net/secevent/caep/event-type/credential-change': {
          change_type: 'revoke',
          reason_admin: { en: expect.stringContaining('leaked') },
        },
      },
    });
    expect(payload.sub).toBeUndefined();
    expect(payload.exp).toBeUndefined();
  });

  test('the transmitter says where its keys are', async () => {
    const { body } = await api.call('GET', '/.well-known/ssf-configuration', { key: null });
    expect(body).toMatchObject({ issuer: PUBLIC_URL, jwks_uri: `${PUBLIC_URL}/.well-known/jwks.json` });
  });
});
