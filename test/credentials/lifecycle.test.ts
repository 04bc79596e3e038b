import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { acceptEvents, type Sender } from '../../src/shared/events/accept.ts';
import { openMaterial } from '../../src/shared/keys/material.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/authorization-server.ts';
import { until } from '../../testkit/signals.ts';
import { providerEnvironment, startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';

const SENDER: Sender = {
  principal: { _id: 'prn_test', tenantId: 'ten_a', permissions: ['*:*'] },
  origin: { ip: '127.0.0.1', userAgent: 'test' },
  traceparent: null,
};

const env = testEnvironment();
let server: AuthorizationServer;
let system: TestSystem;

beforeAll(async () => {
  server = await startAuthorizationServer();
  system = await startSystem({ ...env, ...providerEnvironment('acme', server) });
  await system.startWorkers();
});

afterAll(async () => {
  await system.stop();
  await server.stop();
});

async function codeFor(subject: string) {
  const codeVerifier = randomBytes(32).toString('base64url');
  const url = await system.deps.providers.get('acme').authorizationUrl!({
    redirectUri: server.redirectUri,
    state: randomBytes(16).toString('base64url'),
    codeChallenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    scopes: ['openid', 'offline_access'],
  });
  const code = new URL(await server.consent(url)).searchParams.get('code') as string;
  return { service: 'acme', subject, code, codeVerifier, redirectUri: server.redirectUri };
}

async function send(type: string, data: Record<string, unknown>): Promise<string> {
  const event = { specversion: '1.0', id: randomBytes(8).toString('hex'), source: 'urn:test', type, data };
  const [receipt] = await acceptEvents(system.deps, SENDER, [event]);
  expect(receipt).toMatchObject({ status: 'accepted' });
  return (receipt as { eventId: string }).eventId;
}

describe('the main line', () => {
  test('a code becomes an active credential, and its event succeeds', async () => {
    const event = await system.settledEvent(await send('credential.exchange.requested', await codeFor('ada')));
    expect(event).toMatchObject({ status: 'succeeded', problem: null });
    const doc = await system.credential({ subject: 'ada' });
    expect(doc).toMatchObject({ state: 'active', generation: 1, hasRefreshToken: true, lease: null });
  });

  test('an access token of 5 s is refreshed before it expires, again and again', async () => {
    await system.settledEvent(await send('credential.exchange.requested', await codeFor('bob')));
    const doc = await system.credential({ subject: 'bob' }, ({ generation }) => generation >= 4);
    const { accessToken } = await openMaterial(system.deps, doc);
    expect(await server.findToken(accessToken.reveal())).toMatchObject({ active: true });
    expect(server.grantsRevoked).toEqual([]);
  });

  test('a refresh on request settles its event', async () => {
    await system.settledEvent(await send('credential.exchange.requested', await codeFor('cyd')));
    const { _id } = await system.credential({ subject: 'cyd' });
    const event = await system.settledEvent(await send('credential.refresh.requested', { credentialId: _id }));
    expect(event.status).toBe('succeeded');
  });

  test('a code that is used twice fails with a reason and harms nothing', async () => {
    const data = await codeFor('dan');
    await system.settledEvent(await send('credential.exchange.requested', data));
    const event = await system.settledEvent(await send('credential.exchange.requested', { ...data, subject: 'dan2' }));
    expect(event).toMatchObject({ status: 'failed', problem: { code: 'provider_rejected' } });
  });

  test('a revocation ends the grant at the provider, and DELETE also destroys the secret', async () => {
    await system.settledEvent(await send('credential.exchange.requested', await codeFor('eve')));
    const before = await system.credential({ subject: 'eve' });
    const { accessToken } = await openMaterial(system.deps, before);
    const data = { credentialId: before._id, destroy: true };
    const event = await system.settledEvent(await send('credential.revocation.requested', data));
    expect(event.status).toBe('succeeded');
    expect(await system.credential({ subject: 'eve' })).toMatchObject({ state: 'destroyed', secret: null });
    expect((await server.findToken(accessToken.reveal()))?.active ?? false).toBe(false);
  });

  test('everything is on the chained record', async () => {
    const expected = [
      'credential.activated',
      'credential.refreshed',
      'credential.exchange_failed',
      'credential.quarantined',
      'credential.revoked',
      'credential.destroyed',
    ];
    const types = () => system.deps.database.collection('audit').distinct('type');
    await until(async () => (await types()).length >= expected.length, { what: 'the entries to be chained' });
    expect(await types()).toEqual(expect.arrayContaining(expected));
  });
});
