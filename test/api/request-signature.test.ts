import { randomBytes } from 'node:crypto';
import type { InjectOptions } from 'fastify';
import { describe, expect, test } from 'vitest';
import { type Signing, signedHeaders } from '../../testkit/messages/signed.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { ACME, type Answer, expectProblem, importEvent, startApi } from './support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

type Signer = { id: string; key: string; secret: string };

async function signer(): Promise<Signer> {
  const made = await api.call('POST', '/v1/principals', {
    body: { name: 'signer', permissions: ['*:*'], requireSignature: true },
  });
  expect(made).toMatchObject({ status: 201, body: { requiresSignature: true } });
  const { id, key, signingSecret } = made.body;
  expect(signingSecret).toMatch(/^whsec_/);
  return { id, key, secret: signingSecret };
}

type Sent = { body?: string; signing?: Partial<Signing>; signed?: string };

/** A request as such a client makes it. `signed`: what is signed in place of what is sent. */
function send(by: Signer, method: InjectOptions['method'], url: string, { body, signing, signed }: Sent = {}) {
  const payload = signed ?? `${method} ${url}\n${body ?? ''}`;
  const headers = signedHeaders(payload, { secret: by.secret, ...signing });
  if (body === undefined) return api.call(method, url, { key: by.key, headers });
  const typed = { ...headers, 'content-type': 'application/cloudevents+json' };
  return api.call(method, url, { key: by.key, headers: typed, body });
}

const refusals = async ({ id }: Signer): Promise<{ reason: string; outcome: string }[]> =>
  (await api.call('GET', `/v1/audit?type=request.refused&principal=${id}`)).body.items;

async function expectRefused(by: Signer, answer: Answer, reason: string): Promise<void> {
  expectProblem(answer, 401, 'signature_invalid');
  expect((await refusals(by)).at(-1)).toMatchObject({ reason, outcome: 'denied' });
}

describe('a key that must sign', () => {
  test('is served when it signs method, path and body, by the library of the scheme', async () => {
    const by = await signer();
    expect((await send(by, 'GET', '/v1/credentials?limit=2')).status).toBe(200);
    const body = JSON.stringify(importEvent());
    const sent = await send(by, 'POST', '/v1/events', { body });
    expect(sent).toMatchObject({ status: 202, body: { results: [{ status: 'accepted' }] } });
    const doc = await api.seed();
    expect((await send(by, 'GET', `/v1/credentials/${doc._id}/token`)).status).toBe(200);
    expect((await send(by, 'POST', `/v1/credentials/${doc._id}/quarantine`)).status).toBe(200);
    expect(await refusals(by)).toEqual([]);
  });

  test('its secret lies sealed, and no list shows it', async () => {
    const by = await signer();
    const doc = await api.deps.database.collection('principals').findOne({ _id: by.id });
    expect(JSON.stringify(doc)).not.toContain(by.secret.slice('whsec_'.length));
    expect((await api.call('GET', '/v1/principals')).text).not.toContain('whsec_');
  });

  test('is refused, on the record, without a signature and with one of another key, body, path, method or time', async () => {
    const by = await signer();
    const body = JSON.stringify(importEvent());
    const url = '/v1/events';
    await expectRefused(by, await api.call('GET', '/v1/credentials', { key: by.key }), 'headers_missing');
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    await expectRefused(by, await send(by, 'POST', url, { body, signing: { secret } }), 'signature_mismatch');
    for (const signed of [`POST ${url}\n${body} `, `POST ${url}/\n${body}`, `PUT ${url}\n${body}`, body]) {
      await expectRefused(by, await send(by, 'POST', url, { body, signed }), 'signature_mismatch');
    }
    // What lies ahead comes nearer while the request is on its way: a second would be too little on a busy machine.
    for (const seconds of [-301, 360]) {
      const at = new Date(Date.now() + seconds * 1_000);
      await expectRefused(by, await send(by, 'POST', url, { body, signing: { at } }), 'time_out_of_range');
    }
    expect(await api.deps.database.collection('events').countDocuments({ principalId: by.id })).toBe(0);
  });

  test('a request that was taken is not taken again, not in another process either', async () => {
    const by = await signer();
    const id = 'msg_once';
    expect((await send(by, 'GET', '/v1/credentials', { signing: { id } })).status).toBe(200);
    await expectRefused(by, await send(by, 'GET', '/v1/credentials', { signing: { id } }), 'replayed');
    const other = await signer();
    expect((await send(other, 'GET', '/v1/credentials', { signing: { id } })).status).toBe(200);
    const kept = await api.deps.database.collection('request_ids').findOne({ _id: `${by.id}/${id}` });
    expect(kept?.expiresAt.getTime()).toBeGreaterThan(Date.now() + 590_000);
  });

  test('a body beyond the limit is 413, signed or not', async () => {
    const by = await signer();
    const body = JSON.stringify({ name: 'x'.repeat(300_000), permissions: ['*:*'] });
    expectProblem(await send(by, 'POST', '/v1/principals', { body }), 413, 'payload_too_large');
  });
});

describe('PATCH /v1/principals/{id}', () => {
  const change = (id: string, requireSignature: boolean, key?: string) =>
    api.call('PATCH', `/v1/principals/${id}`, { body: { requireSignature }, ...(key && { key }) });

  test('makes a key sign from now on, gives it another secret, and lets it off', async () => {
    const { body } = await api.call('POST', '/v1/principals', { body: { name: 'k', permissions: ['*:read'] } });
    const read = () => api.call('GET', '/v1/credentials', { key: body.key });
    expect((await read()).status).toBe(200);
    const on = await change(body.id, true);
    expect(on).toMatchObject({ status: 200, body: { id: body.id, requiresSignature: true } });
    expectProblem(await read(), 401, 'signature_invalid');
    const again = await change(body.id, true);
    expect(again.body.signingSecret).not.toBe(on.body.signingSecret);
    const by = { id: body.id, key: body.key, secret: on.body.signingSecret };
    await expectRefused(by, await send(by, 'GET', '/v1/credentials'), 'signature_mismatch');
    expect((await send({ ...by, secret: again.body.signingSecret }, 'GET', '/v1/credentials')).status).toBe(200);
    expect((await change(body.id, false)).body).toMatchObject({ requiresSignature: false });
    expect((await read()).status).toBe(200);
  });

  test('takes the permission, and no less than the key itself may do; promise 10: none of another tenant', async () => {
    const by = await signer();
    expectProblem(await change(by.id, false, await api.keyWith('*:read')), 403, 'permission_denied');
    expectProblem(await change(by.id, false, await api.keyWith('principals:manage')), 403, 'permission_denied');
    const { key } = await api.otherTenant();
    expectProblem(await change(by.id, false, key), 404, 'not_found');
  });
});
