import { describe, expect, test } from 'vitest';
import type { EventDoc } from '../../../src/shared/store/lifecycle/events.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, importEvent, startApi } from '../support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

const events = () => api.deps.database.collection('events');

async function park(): Promise<string> {
  const { body } = await api.call('POST', '/v1/events', {
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify(importEvent()),
  });
  const { eventId } = body.results[0];
  const problem = { code: 'provider_misconfigured', detail: 'check the client' };
  await events().updateOne(
    { _id: eventId },
    { $set: { status: 'parked', attempts: 20, problem } as Partial<EventDoc>, $unset: { dueAt: '' } },
  );
  return eventId;
}

describe('parked events', () => {
  test('are listed, and worked on again when a person says so, with an entry', async () => {
    const eventId = await park();
    const { body } = await api.call('GET', '/v1/events?status=parked');
    expect(body.items).toMatchObject([{ id: eventId, status: 'parked', attempts: 20 }]);
    expect((await api.call('POST', `/v1/events/${eventId}/retry`)).status).toBe(202);
    expect(await events().findOne({ _id: eventId })).toMatchObject({ status: 'accepted', attempts: 0, problem: null });
    const entry = await api.deps.database.collection('audit_inbox').findOne({ eventId });
    expect(entry).toMatchObject({ type: 'event.retried', reason: 'provider_misconfigured' });
    expectProblem(await api.call('POST', `/v1/events/${eventId}/retry`), 409, 'transition_refused');
  });

  test('are given up when a person says so, and their secrets with them', async () => {
    const eventId = await park();
    expect((await api.call('POST', `/v1/events/${eventId}/discard`)).status).toBe(202);
    const stored = await events().findOne({ _id: eventId });
    expect(stored).toMatchObject({ status: 'failed', sealed: null, problem: { code: 'provider_misconfigured' } });
    expect(stored?.settledAt).toBeInstanceOf(Date);
  });

  test('are decided on by those who may, of their own tenant only', async () => {
    const eventId = await park();
    const reader = await api.keyWith('events:read');
    expect((await api.call('GET', '/v1/events', { key: reader })).status).toBe(200);
    expectProblem(await api.call('POST', `/v1/events/${eventId}/discard`, { key: reader }), 403, 'permission_denied');
    const other = await api.otherTenant();
    expectProblem(await api.call('POST', `/v1/events/${eventId}/retry`, { key: other.key }), 404, 'not_found');
    expect((await api.call('GET', '/v1/events?status=parked', { key: other.key })).body.items).toEqual([]);
  });
});
