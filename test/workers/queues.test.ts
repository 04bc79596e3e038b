import { Redis } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import { seedCredentials } from '../../testkit/credentials.ts';
import { sendEvent } from '../../testkit/messages/events.ts';
import { startStubProvider } from '../../testkit/providers/stub-provider.ts';
import { services, withoutEnd } from '../../testkit/services.ts';
import { startSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';

const PARTITIONS = 4;
const BACKLOG = 10_000;

const stub = await startStubProvider();
// The refreshes would take ten minutes.
stub.always((call) => ({ delayMs: call.path === '/token' ? 1_000 : 0 }));
/** Environment of a Keyturn of its own: a backlog in one is none in another. */
const environment = () =>
  testEnvironment({
    KEYTURN_QUEUE_PARTITIONS: String(PARTITIONS),
    ...services({ acme: { ...withoutEnd(stub.url), revoke_url: `${stub.url}/revoke`, max_concurrent: '16' } }),
  });
const busy = await startSystem(environment());
const idle = await startSystem(environment());
afterAll(async () => {
  await Promise.all([busy.stop(), idle.stop()]);
  await stub.stop();
});

describe('priorities', () => {
  test('promise 8: a revocation overtakes ten thousand refreshes of the same provider', async () => {
    const set = { due: { refresh: new Date(Date.now() - 1_000) } };
    const credentials = busy.deps.database.collection('credentials');
    await seedCredentials(busy.deps, { count: BACKLOG, service: 'acme', tenantId: 'ten_a', set });
    const workers = await busy.startWorkers();
    await until(() => stub.calls.length > 20, { what: 'the refreshes to begin' });
    const last = await credentials.findOne({ subject: `person-${BACKLOG - 1}` });
    const event = await busy.settledEvent(
      await sendEvent(busy.deps, 'credential.revocation.requested', { credentialId: last!._id }),
    );
    expect(event.status).toBe('succeeded');
    expect(await credentials.countDocuments({ generation: 1 })).toBeGreaterThan(0.9 * BACKLOG);
    await workers.stop();
  });
});

describe('partitions', () => {
  test('every partition is worked, and all its keys lie in one slot of a Redis Cluster', async () => {
    await idle.startWorkers();
    const ids = await Promise.all(
      Array.from({ length: 40 }, (_, person) =>
        sendEvent(idle.deps, 'credential.import.requested', {
          service: 'acme',
          subject: `import-${person}`,
          accessToken: 'key-123',
        }),
      ),
    );
    const events = await Promise.all(ids.map((id) => idle.settledEvent(id)));
    expect(events.every(({ status }) => status === 'succeeded')).toBe(true);
    const redis = new Redis(idle.config.redisUrl);
    const keys = await redis.keys(`{${idle.config.queuePrefix}:*`);
    redis.disconnect();
    const byQueue = Map.groupBy(keys, (key) => /:(\w+-\d+)\}/.exec(key)?.[1]);
    for (const partition of Array.from({ length: PARTITIONS }, (_, index) => index)) {
      expect([...byQueue.keys()]).toContain(`exchange-${partition}`);
    }
    for (const [queue, all] of byQueue) expect(new Set(all.map(slotOf)).size, queue).toBe(1);
  });
});

/** The slot of a key (Redis Cluster specification: CRC16/XMODEM of the part in the first braces, modulo 16384). */
function slotOf(key: string): number {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key;
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc % 16_384;
}
