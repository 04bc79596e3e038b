import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import { eventRequest } from '../../../testkit/messages/events.ts';
import { isTokenActive } from '../../../testkit/providers/oauth-client.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../../testkit/servers/authorization-server.ts';
import { atIssuer, services } from '../../../testkit/services.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { startApi, type TestApi } from '../../api/support.ts';

/** Renewed at half of its life: a machine has the other half to be slow in. */
const TTL_S = 8;

const env = testEnvironment({ KEYTURN_REFRESH_MARGIN_SECONDS: '4' });
let server: AuthorizationServer;
let api: TestApi;

beforeAll(async () => {
  server = await startAuthorizationServer({ accessTokenTtlS: TTL_S });
  api = await startApi({ ...env, ...services({ acme: atIssuer(server) }), KEYTURN_PROVIDER_ACME_SCOPES: 'read' });
  await api.startWorkers();
});

afterAll(() => server.stop());

async function ask(subject: string, data: Record<string, unknown> = {}): Promise<string> {
  const wanted = { service: 'acme', subject, grantType: 'client_credentials', ...data };
  const sent = await api.call('POST', '/v1/events', eventRequest('credential.exchange.requested', wanted));
  expect(sent.status).toBe(202);
  return sent.body.results[0].eventId;
}

const release = (doc: CredentialDoc) => api.call('GET', `/v1/credentials/${doc._id}/token`);

const isActive = (token: string) => isTokenActive(server, token);

describe('the client-credentials grant, on a real authorization server', () => {
  test('one event makes a credential without a refresh token, whose token the server takes', async () => {
    const event = await api.settledEvent(await ask('machine-1'));
    expect(event).toMatchObject({ status: 'succeeded', problem: null });
    const doc = await api.credential({ subject: 'machine-1' });
    expect(doc).toMatchObject({ kind: 'client_credentials', state: 'active', hasRefreshToken: false });
    expect(doc.due.refresh?.getTime()).toBeLessThan(doc.expiresAt?.getTime() ?? 0);
    const { status, body } = await release(doc);
    expect({ status, scopes: body.scopes }).toEqual({ status: 200, scopes: ['read'] });
    expect(await isActive(body.accessToken)).toBe(true);
  });

  test('promise 3: it is renewed before it expires, again and again, and never runs out', async () => {
    await api.settledEvent(await ask('machine-2', { scopes: ['write'] }));
    const first = await api.credential({ subject: 'machine-2' });
    const later = await api.credential({ subject: 'machine-2' }, ({ generation }) => generation >= 3);
    expect(later).toMatchObject({ state: 'active', failures: 0, scopes: ['write'] });
    const entries = await api.call('GET', `/v1/audit?credentialId=${first._id}&type=credential.refreshed`);
    const renewals: { at: string; detail: { generation: number } }[] = entries.body.items;
    expect(renewals.map(({ detail }) => detail.generation).slice(0, 2)).toEqual([2, 3]);
    expect(Date.parse(renewals[0]!.at)).toBeLessThan(first.expiresAt!.getTime());
    expect(await isActive((await release(later)).body.accessToken)).toBe(true);
  });

  test('a caller of the release gets a new token when the present one has ended', async () => {
    await api.settledEvent(await ask('machine-3'));
    const doc = await api.credential({ subject: 'machine-3' });
    const past = new Date(Date.now() - 1_000);
    const where = { _id: doc._id };
    await api.deps.database.collection('credentials').updateOne(where, { $set: { expiresAt: past } });
    const { status, body } = await release(doc);
    expect({ status, newer: body.generation > doc.generation }).toEqual({ status: 200, newer: true });
    expect(await isActive(body.accessToken)).toBe(true);
  });

  test('an outage of the provider does not end it: it comes back by itself', async () => {
    await api.settledEvent(await ask('machine-4'));
    const doc = await api.credential({ subject: 'machine-4' });
    server.setFailure('unavailable');
    await api.credential({ subject: 'machine-4' }, ({ failures }) => failures > 0);
    server.setFailure(null);
    const healed = await api.credential(
      { subject: 'machine-4' },
      ({ failures, generation }) => failures === 0 && generation > doc.generation,
    );
    expect(healed.state).toBe('active');
  });

  test('a scope that the server does not grant fails the event, by name, and makes no credential', async () => {
    const event = await api.settledEvent(await ask('machine-5', { scopes: ['read', 'no-such-scope'] }));
    expect(event).toMatchObject({ status: 'failed', problem: { code: 'scopes_missing' } });
    expect(event.problem?.detail).toContain('no-such-scope');
    expect(await api.deps.database.collection('credentials').findOne({ subject: 'machine-5' })).toBeNull();
  });
});
