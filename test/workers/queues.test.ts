import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, describe, expect, test } from 'vitest';
import { seedCredentials } from '../../bench/seed.ts';
import { acceptEvents, type Sender } from '../../src/shared/events/accept.ts';
import { until } from '../../testkit/signals.ts';
import { startStubProvider } from '../../testkit/stub-provider.ts';
import { startSystem, testEnvironment } from '../../testkit/system.ts';

const PARTITIONS = 4;
const BACKLOG = 10_000;

const SENDER: Sender = {
  principal: { _id: 'prn_test', tenantId: 'ten_a', permissions: ['*:*'] },
  origin: { ip: null, userAgent: null },
  traceparent: null,
};

const stub = await startStubProvider();
stub.always((call) => ({ delayMs: call.path === '/token' ? 300 : 0 }));
const system = await startSystem(
  testEnvironment({
    KEYTURN_QUEUE_PARTITIONS: String(PARTITIONS),
    KEYTURN_PROVIDERS: 'acme',
    KEYTURN_PROVIDER_ACME_TYPE: 'oauth2',
    KEYTURN_PROVIDER_ACME_CLIENT_ID: 'id',
    KEYTURN_PROVIDER_ACME_CLIENT_SECRET: 'secret',
    KEYTURN_PROVIDER_ACME_AUTHORIZE_URL: `${stub.url}/authorize`,
    KEYTURN_PROVIDER_ACME_TOKEN_URL: `${stub.url}/token`,
    KEYTURN_PROVIDER_ACME_REVOKE_URL: `${stub.url}/revoke`,
    KEYTURN_PROVIDER_ACME_MAX_CONCURRENT: '16',
  }),
);
afterAll(async () => {
  await system.stop();
  await stub.stop();
});

const credentials = system.deps.database.collection('credentials');

async function accept(type: string, data: Record<string, unknown>): Promise<string> {
  const event = { specversion: '1.0', id: randomBytes(8).toString('hex'), source: 'urn:test', type, data };
  const [receipt] = await acceptEvents(system.deps, SENDER, [event]);
  expect(receipt).toMatchObject({ status: 'accepted' });
  return (receipt as { eventId: string }).eventId;
}

describe('priorities', () => {
  test('promise 8: a revocation overtakes ten thousand refreshes of the same provider', async () => {
    const tenantId = SENDER.principal.tenantId;
    const set = { due: { refresh: new Date(Date.now() - 1_000) } };
    await seedCredentials(system.deps, { count: BACKLOG, service: 'acme', tenantId, set });
    await system.startWorkers();
    await until(() => stub.calls.length > 20, { what: 'the refreshes to begin' });
    const last = await credentials.findOne({ subject: `person-${BACKLOG - 1}` });
    const event = await system.settledEvent(
      await accept('credential.revocation.requested', { credentialId: last!._id }),
    );
    expect(event.status).toBe('succeeded');
    expect(await credentials.countDocuments({ generation: 1 })).toBeGreaterThan(0.9 * BACKLOG);
  }, 60_000);
});

describe('partitions', () => {
  test('every partition is worked, and all its keys lie in one slot of a Redis Cluster', async () => {
    await credentials.updateMany({}, { $unset: { 'due.refresh': '' } });
    const ids = await Promise.all(
      Array.from({ length: 40 }, (_, person) =>
        accept('credential.import.requested', { service: 'acme', subject: `import-${person}`, accessToken: 'key-123' }),
      ),
    );
    const events = await Promise.all(ids.map((id) => system.settledEvent(id)));
    expect(events.every(({ status }) => status === 'succeeded')).toBe(true);
    const redis = new Redis(system.config.redisUrl);
    const keys = await redis.keys(`{${system.config.queuePrefix}:*`);
    redis.disconnect();
    const byQueue = Map.groupBy(keys, (key) => /:(\w+-\d+)\}/.exec(key)?.[1]);
    for (const partition of Array.from({ length: PARTITIONS }, (_, index) => index)) {
      expect([...byQueue.keys()]).toContain(`exchange-${partition}`);
    }
    for (const [queue, all] of byQueue) expect(new Set(all.map(slotOf)).size, queue).toBe(1);
  }, 60_000);
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
