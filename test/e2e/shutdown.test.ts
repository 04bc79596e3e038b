import { readdirSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { freePort } from '../../local/tools/ports.ts';
import type { AuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { startTcpProxy, type TcpProxy } from '../../testkit/servers/tcp-proxy.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { codeFor } from './load.ts';
import { acmeOn, connectAll, type Keyturn, makeKeyturn, startServerFor } from './support.ts';

const env = testEnvironment();
let server: AuthorizationServer;
let mongo: TcpProxy;
let redis: TcpProxy;
let keyturn: Keyturn;

beforeAll(async () => {
  const port = await freePort();
  server = await startServerFor(port);
  // Between Keyturn and its servers, so that its connections, and nobody else's, can be counted.
  [mongo, redis] = await Promise.all([proxyTo(env.MONGODB_URI!), proxyTo(env.REDIS_URL!)]);
  keyturn = await makeKeyturn({
    ...env,
    ...acmeOn(server),
    MONGODB_URI: `mongodb://127.0.0.1:${mongo.port}/?directConnection=true`,
    REDIS_URL: `redis://127.0.0.1:${redis.port}`,
    KEYTURN_PORT: String(port),
  });
  return async () => {
    await Promise.all(keyturn.processes.map((one) => one.kill9()));
    await keyturn.mongo.close();
    await Promise.all([server.stop(), mongo.close(), redis.close()]);
  };
});

function proxyTo(uri: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(uri);
  return startTcpProxy({ host: hostname, port: Number(port) });
}

test('promise 4: SIGTERM finishes what is in hand, and leaves no lease, no journal, no connection and exit code 0', {
  timeout: 240_000,
}, async () => {
  const [api, workers] = [await keyturn.startApi(), await keyturn.startWorkers()];
  await connectAll(keyturn, server, { count: 20, atOnce: 5 });
  const before = await keyturn.credentials();
  server.setLatency(1_000);
  const { exchanges, refreshes } = server.counts;
  const sent = await keyturn.send('credential.exchange.requested', await codeFor(server, 'in hand'));
  expect(sent.status).toBe(202);
  await until(() => server.counts.exchanges > exchanges && server.counts.refreshes > refreshes, {
    what: 'an exchange and a refresh to be in hand',
    everyMs: 5,
  });

  expect(await workers.sigterm()).toBe(0);
  const credentials = await keyturn.credentials();
  const [event] = await keyturn.events({ 'data.subject': 'in hand' });
  expect(event).toMatchObject({ status: 'succeeded', lease: null });
  // What the provider had answered is kept: the newest refresh token of each is the one that we hold.
  const gained = credentials.filter(({ _id, generation }) =>
    before.some((old) => old._id === _id && old.generation < generation),
  );
  expect(gained.length).toBeGreaterThan(0);
  expect(credentials.filter(({ lease, interrupted }) => lease || interrupted)).toEqual([]);
  expect(await keyturn.events({ lease: { $ne: null } })).toEqual([]);
  expect(readdirSync(env.KEYTURN_JOURNAL_DIR!)).toEqual([]);
  expect(workers.output()).toMatch(/"stopped"/);

  await apiFinishes(api, credentials[0]!._id);
  await keyturn.mongo.close();
  await until(() => mongo.connections === 0 && redis.connections === 0, { what: 'every connection to end' });
  expect(server.grantsRevoked).toEqual([]);
});

/** A caller who waits for a refresh that nobody is there to make is answered before the API ends. */
async function apiFinishes(api: { sigterm(): Promise<number | null>; output(): string }, id: string): Promise<void> {
  await until(async () => (await keyturn.credentials({ _id: id }))[0]!.expiresAt!.getTime() < Date.now(), {
    what: 'the token to expire',
  });
  const waits = keyturn.call('GET', `/v1/credentials/${id}/token`);
  const hinted = await until(async () => (await waiting()) > 0, { what: 'the hint of the caller' });
  expect(hinted).toBe(true);
  const ended = api.sigterm();
  expect(await waits).toMatchObject({ status: 503, body: { type: 'https://keyturn.dev/problems/refresh_pending' } });
  expect(await ended).toBe(0);
  expect(api.output()).toMatch(/"stopped"/);
  await expect(keyturn.call('GET', '/healthz')).rejects.toThrow();
}

/** Refreshes that wait, as the API counts them. */
async function waiting(): Promise<number> {
  const { text } = await keyturn.call('GET', '/metrics');
  return Number(/keyturn_queue_waiting\{queue="refresh"\} (\d+)/.exec(text)?.[1] ?? 0);
}
