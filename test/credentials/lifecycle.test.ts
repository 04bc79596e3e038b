import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMaterial } from '../../src/shared/keys/material.ts';
import { consentCode } from '../../testkit/messages/consent.ts';
import { sendEvent } from '../../testkit/messages/events.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { atIssuer, services } from '../../testkit/services.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';

const env = testEnvironment();
let server: AuthorizationServer;
/** Gives access tokens of 5 seconds; the other's outlive the tests. */
let brief: AuthorizationServer;
let system: TestSystem;

beforeAll(async () => {
  [server, brief] = await Promise.all([startAuthorizationServer({ accessTokenTtlS: 600 }), startAuthorizationServer()]);
  system = await startSystem({ ...env, ...services({ acme: atIssuer(server), brief: atIssuer(brief) }) });
  await system.startWorkers();
});

afterAll(async () => {
  await system.stop();
  await Promise.all([server.stop(), brief.stop()]);
});

const codeFor = (subject: string, service = 'acme') =>
  consentCode(service === 'acme' ? server : brief, { subject, service, provider: system.deps.providers.get(service) });
const send = (type: string, data: object) => sendEvent(system.deps, type, data);

describe('the main line', () => {
  test('a code becomes an active credential, and its event succeeds', async () => {
    const event = await system.settledEvent(await send('credential.exchange.requested', await codeFor('ada')));
    expect(event).toMatchObject({ status: 'succeeded', problem: null });
    const doc = await system.credential({ subject: 'ada' });
    expect(doc).toMatchObject({ state: 'active', generation: 1, hasRefreshToken: true, lease: null });
  });

  test('an access token of 5 s is refreshed before it expires, again and again', async () => {
    await system.settledEvent(await send('credential.exchange.requested', await codeFor('bob', 'brief')));
    const isAlive = async () => {
      const doc = await system.credential({ subject: 'bob' }, ({ generation }) => generation >= 4);
      const { accessToken } = await openMaterial(system.deps, doc);
      return (await brief.findToken(accessToken.reveal()))?.active;
    };
    // Asked again where so long went by since the document was read that this token had its end.
    await until(isAlive, { what: 'a token of the fourth generation or later that is active' });
    expect(brief.grantsRevoked).toEqual([]);
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
    const missing = async () => {
      const types: string[] = await system.deps.database.collection('audit').distinct('type');
      return expected.filter((type) => !types.includes(type));
    };
    await until(async () => (await missing()).length === 0, { what: 'the entries to be chained' }).catch(() => {});
    expect(await missing()).toEqual([]);
  });
});
