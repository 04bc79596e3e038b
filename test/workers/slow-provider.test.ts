import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seedCredentials } from '../../testkit/credentials.ts';
import { type StubProvider, startStubProvider } from '../../testkit/providers/stub-provider.ts';
import { services, withoutEnd } from '../../testkit/services.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';

const env = testEnvironment();
let hung: StubProvider;
let healthy: StubProvider;
let system: TestSystem;

beforeAll(async () => {
  hung = await startStubProvider();
  hung.always({ fate: 'hang' });
  healthy = await startStubProvider();
  system = await startSystem({
    ...env,
    ...services({ hung: withoutEnd(hung.url), healthy: withoutEnd(healthy.url) }),
    KEYTURN_REFRESH_CONCURRENCY: '4',
    // Longer than the test: no call to the hung provider ends by itself.
    KEYTURN_CALL_TIMEOUT_SECONDS: '120',
    KEYTURN_DRAIN_SECONDS: '0.1',
  });
});

afterAll(async () => {
  await hung.stop();
  await system.stop();
  await healthy.stop();
});

describe('promise 9: a slow or dead party harms only itself', () => {
  test('a provider that hangs with hundreds of credentials due delays none of another provider', async () => {
    const due = new Date(system.deps.clock.now());
    const tenantId = 'ten_a';
    await seedCredentials(system.deps, { count: 600, service: 'hung', tenantId, set: { due: { refresh: due } } });
    await system.startWorkers();
    await until(() => hung.calls.length > 0, { what: 'the hung provider to be called' });
    await seedCredentials(system.deps, { count: 60, service: 'healthy', tenantId, set: { due: { refresh: due } } });
    const credentials = system.deps.database.collection('credentials');
    await until(async () => (await credentials.countDocuments({ service: 'healthy', generation: 2 })) === 60, {
      what: 'the healthy provider to refresh all',
    });
    expect(await credentials.countDocuments({ service: 'hung', generation: 2 })).toBe(0);
  });
});
