import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { insertCredential } from '../../testkit/credentials.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/processes/keyturn.ts';
import { REPLIES, type StubProvider, startStubProvider } from '../../testkit/providers/stub-provider.ts';
import { services, withoutEnd } from '../../testkit/services.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';

const env: Record<string, string> = { ...testEnvironment(), KEYTURN_LOG_LEVEL: 'info', KEYTURN_WORKERS_PORT: '0' };
let stub: StubProvider;
let system: TestSystem;
let workers: KeyturnProcess;
let address: string;

beforeAll(async () => {
  stub = await startStubProvider();
  Object.assign(env, services({ acme: withoutEnd(stub.url) }));
  system = await startSystem({ ...env, KEYTURN_LOG_LEVEL: 'silent' });
  workers = await startProcess('workers', env);
  address = String((await workers.waitForLog('serving metrics')).address);
  await workers.waitForLog('workers are running');
});

afterAll(async () => {
  await workers.kill9();
  await system.stop();
  await stub.stop();
});

const get = (path: string, init: RequestInit = {}) => fetch(`${address}${path}`, init);

/** The samples of a counter: its labels, as Prometheus writes them → its value. */
async function samplesOf(name: string): Promise<Record<string, number>> {
  const text = await (await get('/metrics')).text();
  const samples = text.matchAll(new RegExp(`^${name}\\{(.*)\\} (\\d+)$`, 'gm'));
  return Object.fromEntries([...samples].map(([, labels, value]) => [labels, Number(value)]));
}

/** Once the refreshes have been counted, which is right after their commit. */
async function refreshesOnce(count: number): Promise<Record<string, number>> {
  const counted = async () => {
    const samples = await samplesOf('keyturn_refreshes_total');
    return Object.values(samples).reduce((sum, value) => sum + value, 0) >= count ? samples : null;
  };
  return until(counted, { what: `${count} refreshes to be counted` });
}

/** A credential whose refresh is due now. */
const seedDue = () => insertCredential(system.deps, { due: { refresh: new Date(Date.now() - 1_000) } });

describe('a worker with a port', () => {
  test('counts a refresh by its service, and a failed one by its code', async () => {
    const good = await seedDue();
    await system.credential({ _id: good._id }, ({ generation }) => generation === 2);
    expect(await refreshesOnce(1)).toEqual({ 'service="acme",outcome="refreshed"': 1 });
    stub.script(REPLIES.invalidGrant);
    const ended = await seedDue();
    await system.credential({ _id: ended._id }, ({ state }) => state === 'reauthorization_required');
    expect(await refreshesOnce(2)).toEqual({
      'service="acme",outcome="refreshed"': 1,
      'service="acme",outcome="provider_grant_ended"': 1,
    });
  });

  test('shows what its process uses, in the format that Prometheus reads', async () => {
    const reply = await get('/metrics');
    expect(reply.headers.get('content-type')).toContain('text/plain; version=0.0.4');
    expect(await reply.text()).toMatch(/^process_resident_memory_bytes \d+/m);
  });

  test('says that it lives, and answers nothing else', async () => {
    const alive = await get('/healthz?probe=1');
    expect([alive.status, await alive.json()]).toEqual([200, { status: 'ok' }]);
    for (const path of ['/', '/readyz', '/v1/credentials', '/metrics/', '/toString', '//metrics']) {
      const reply = await get(path);
      expect([path, reply.status, await reply.text()]).toEqual([path, 404, '']);
    }
    expect((await get('/metrics', { method: 'POST', body: 'x' })).status).toBe(404);
  });

  test('does not start where the port is taken, and names the variable', async () => {
    const taken = await startProcess('workers', { ...env, KEYTURN_WORKERS_PORT: new URL(address).port });
    expect(await taken.exited).toBe(1);
    expect(taken.output()).toContain('KEYTURN_WORKERS_PORT: cannot listen on 127.0.0.1');
    expect(taken.output()).toContain('EADDRINUSE');
  });

  test('serves until its work in hand is done, and then no more', async () => {
    // Long enough for what is asked while it lasts.
    stub.script({ delayMs: 6_000 });
    const held = await seedDue();
    const before = stub.calls.length;
    await system.credential({ _id: held._id }, () => stub.calls.length > before);
    const exited = workers.sigterm();
    await workers.waitForLog('stopping');
    expect((await get('/healthz')).status).toBe(200);
    expect(await exited).toBe(0);
    await expect(get('/healthz')).rejects.toThrow();
    expect(await system.credential({ _id: held._id })).toMatchObject({ generation: 2 });
  });
});

describe('a worker without a port', () => {
  test('listens nowhere', async () => {
    const { KEYTURN_WORKERS_PORT: _, ...without } = env;
    const quiet = await startProcess('workers', without);
    await quiet.waitForLog('workers are running');
    expect(quiet.logs.some(({ msg }) => msg === 'serving metrics')).toBe(false);
    expect(await quiet.sigterm()).toBe(0);
  });
});
