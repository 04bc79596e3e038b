import { describe, expect, test } from 'vitest';
import { testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, importEvent, startApi } from '../support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

const STRUCTURED = { 'content-type': 'application/cloudevents+json; charset=utf-8' };
const BATCH = { 'content-type': 'application/cloudevents-batch+json' };

const send = (event: unknown, options: { key?: string; headers?: Record<string, string> } = {}) =>
  api.call('POST', '/v1/events', { headers: STRUCTURED, ...options, body: JSON.stringify(event) });
const sendBatch = (events: unknown, options: { key?: string } = {}) =>
  api.call('POST', '/v1/events', { headers: BATCH, ...options, body: JSON.stringify(events) });

describe('taking events', () => {
  test('promise 1, promise 2: a structured event is accepted, sealed and found again by its id', async () => {
    const event = importEvent();
    const { status, body } = await send(event);
    expect(status).toBe(202);
    expect(body.results).toEqual([{ id: event.id, eventId: expect.stringMatching(/^evt_/), status: 'accepted' }]);
    const { eventId } = body.results[0];
    const progress = await api.call('GET', `/v1/events/${eventId}`);
    expect(progress.body).toMatchObject({ id: eventId, sourceId: event.id, status: 'accepted', problem: null });
    const stored = await api.deps.database.collection('events').findOne({ _id: eventId });
    expect(stored?.data).toEqual({ service: 'acme', subject: event.data.subject, kind: 'api_key' });
    expect(JSON.stringify(stored)).not.toContain('CANARY');
  });

  test('binary mode carries the attributes in percent-encoded headers', async () => {
    const { data, id } = importEvent();
    const headers = {
      'ce-specversion': '1.0',
      'ce-id': id,
      'ce-source': 'urn:b%20inary',
      'ce-type': 'credential.import.requested',
    };
    const { status, body } = await api.call('POST', '/v1/events', { headers, body: data });
    expect({ status, first: body.results[0].status }).toEqual({ status: 202, first: 'accepted' });
    const stored = await api.deps.database.collection('events').findOne({ _id: body.results[0].eventId });
    expect(stored).toMatchObject({ source: 'urn:b inary', sourceId: id });
  });

  test('the same source and id again is a duplicate of the first, also within one batch', async () => {
    const event = importEvent();
    const first = await send(event);
    const { eventId } = first.body.results[0];
    expect((await send(event)).body.results).toEqual([{ id: event.id, eventId, status: 'duplicate' }]);
    const twin = importEvent();
    const { body } = await sendBatch([twin, twin]);
    const statuses = body.results.map((result: { status: string }) => result.status);
    expect(statuses.sort()).toEqual(['accepted', 'duplicate']);
  });

  test('a batch of 1000 is taken; one of 1001 is not', async () => {
    const events = Array.from({ length: 1000 }, () => importEvent());
    const { status, body } = await sendBatch(events);
    expect(status).toBe(202);
    expect(body.results.every((result: { status: string }) => result.status === 'accepted')).toBe(true);
    expectProblem(await sendBatch([...events, importEvent()]), 400, 'invalid_event');
  });

  test('bad events in a batch are rejected by themselves, in order', async () => {
    const good = importEvent();
    const noSource = { ...importEvent(), source: undefined };
    const foreignCredential = {
      ...importEvent({ type: 'credential.refresh.requested' }),
      data: { credentialId: `cred_${'0'.repeat(32)}` },
    };
    const events = [
      good,
      noSource,
      null,
      7,
      importEvent({ type: 'toString' }),
      importEvent({}, { service: 'nobody' }),
      foreignCredential,
      importEvent({ source: 'keyturn:authorizations' }),
      importEvent(),
    ];
    const { status, body, text } = await sendBatch(events);
    expect(status).toBe(202);
    const codes = body.results.map(
      (result: { status: string; problem?: { type: string } }) =>
        result.problem?.type.split('/').at(-1) ?? result.status,
    );
    expect(codes).toEqual([
      'accepted',
      'invalid_event',
      'invalid_event',
      'invalid_event',
      'invalid_event',
      'unknown_service',
      'not_found',
      'invalid_event',
      'accepted',
    ]);
    expect(body.results[1].problem.detail).toContain('source');
    expect(text).not.toContain('CANARY');
  });
});

describe('refusing events', () => {
  test('a single bad event is a problem of its own status', async () => {
    expectProblem(await send(importEvent({ specversion: '0.3' })), 400, 'invalid_event');
    expectProblem(await send(importEvent({}, { service: 'nobody' })), 400, 'unknown_service');
    const key = await api.keyWith('acme:read');
    expectProblem(await send(importEvent(), { key }), 403, 'permission_denied');
  });

  test('a body that is no JSON is refused without being quoted', async () => {
    const answer = await api.call('POST', '/v1/events', { headers: STRUCTURED, body: '{"token": CANARY' });
    expectProblem(answer, 400, 'invalid_request');
    const poisoned = await api.call('POST', '/v1/events', { headers: STRUCTURED, body: '{"__proto__": {"x": 1}}' });
    expectProblem(poisoned, 400, 'invalid_request');
  });

  test('another content type is 415, JSON without ce-* headers says what to send', async () => {
    const text = await api.call('POST', '/v1/events', { headers: { 'content-type': 'text/plain' }, body: 'hi' });
    expectProblem(text, 415, 'unsupported_media_type');
    const bare = await api.call('POST', '/v1/events', { body: importEvent() });
    expectProblem(bare, 400, 'invalid_event');
    expect(bare.body.detail).toContain('application/cloudevents+json');
  });

  test('a body beyond the limit is 413', async () => {
    const body = `"${'x'.repeat(8 * 1024 * 1024)}"`;
    expectProblem(await api.call('POST', '/v1/events', { headers: STRUCTURED, body }), 413, 'payload_too_large');
  });

  test("promise 10: another tenant's event is indistinguishable from one that does not exist", async () => {
    const { body } = await send(importEvent());
    const { eventId } = body.results[0];
    const { key } = await api.otherTenant();
    const theirs = await api.call('GET', `/v1/events/${eventId}`, { key });
    const absent = await api.call('GET', '/v1/events/evt_none', { key });
    expectProblem(theirs, 404, 'not_found');
    expect(theirs.text.replace(eventId, '')).toBe(absent.text.replace('evt_none', ''));
  });

  test('who neither sent an event nor may read its service is not told of it', async () => {
    const { body } = await send(importEvent());
    const path = `/v1/events/${body.results[0].eventId}`;
    expectProblem(await api.call('GET', path, { key: await api.keyWith('figma:read') }), 403, 'permission_denied');
    expect((await api.call('GET', path, { key: await api.keyWith('acme:read') })).status).toBe(200);
  });
});
