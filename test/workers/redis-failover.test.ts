import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findRedis, type RedisServer, startRedis } from '../../local/redis.ts';
import { acceptEvents, type Sender } from '../../src/shared/events/accept.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';

const SENDER: Sender = {
  principal: { _id: 'prn_test', tenantId: 'ten_a', permissions: ['*:*'] },
  origin: { ip: null, userAgent: null },
  traceparent: null,
};

const SERVICE = {
  KEYTURN_PROVIDERS: 'acme',
  KEYTURN_PROVIDER_ACME_TYPE: 'oauth2',
  KEYTURN_PROVIDER_ACME_CLIENT_ID: 'id',
  KEYTURN_PROVIDER_ACME_CLIENT_SECRET: 'secret',
  KEYTURN_PROVIDER_ACME_TOKEN_URL: 'http://127.0.0.1:9/token',
  KEYTURN_PROVIDER_ACME_AUTHORIZE_URL: 'http://127.0.0.1:9/auth',
};

const env = testEnvironment();
let dir: string;
let redis: RedisServer;
let other: RedisServer;
let system: TestSystem;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'keyturn-redis-'));
  const binary = await findRedis(process.env, () => {});
  redis = await startRedis({ binary, dir: join(dir, 'one') });
  other = await startRedis({ binary, dir: join(dir, 'other') });
  system = await startSystem({ ...env, ...SERVICE, REDIS_URL: redis.url });
  await system.startWorkers();
});

afterAll(async () => {
  await system.stop();
  await Promise.all([redis.stop(), other.stop()]);
  await rm(dir, { recursive: true, force: true });
});

/** Accepts one event; resolves to its id. Redis need not be there. */
async function accept(): Promise<string> {
  const id = randomBytes(8).toString('hex');
  const data = { service: 'acme', subject: id, accessToken: 'key-0123456789', kind: 'api_key' };
  const event = { specversion: '1.0', id, source: 'urn:test', type: 'credential.import.requested', data };
  const [receipt] = await acceptEvents(system.deps, SENDER, [event]);
  expect(receipt).toMatchObject({ status: 'accepted' });
  return (receipt as { eventId: string }).eventId;
}

async function command(...words: [string, ...string[]]): Promise<void> {
  const client = new Redis(redis.url, { lazyConnect: true });
  await client.call(...words);
  client.disconnect();
}

async function expectAllSettled(ids: string[]): Promise<void> {
  const events = await Promise.all(ids.map((id) => system.settledEvent(id)));
  expect(events.map(({ status }) => status)).toEqual(ids.map(() => 'succeeded'));
}

describe('promise 2: Redis may be lost at any time', () => {
  test('after a restart work goes on by itself', async () => {
    const ids = [await accept()];
    await redis.restart();
    await expectAllSettled([...ids, await accept()]);
  });

  test('after a wipe what was lost is found within a round of the sweep, not when its claim ends', async () => {
    const event = await system.settledEvent(await accept());
    const set = { status: 'accepted' as const, settledAt: null, dueAt: new Date(Date.now() + 25_000) };
    // As if it had been claimed for a job that the wipe took.
    await system.deps.database.collection('events').updateOne({ _id: event._id }, { $set: set });
    const before = Date.now();
    await command('FLUSHALL');
    await system.settledEvent(event._id);
    expect(Date.now() - before).toBeLessThan(10_000);
  });

  test('while a replica is read-only nothing is lost, and after its promotion work goes on', async () => {
    await command('REPLICAOF', '127.0.0.1', String(other.port));
    const ids = [await accept(), await accept()];
    await command('REPLICAOF', 'NO', 'ONE');
    await expectAllSettled([...ids, await accept()]);
  });

  test('after 30 seconds without Redis, accepted events are settled', async () => {
    const away = redis.restart({ downMs: 30_000 });
    const ids = [await accept(), await accept()];
    await away;
    await expectAllSettled([...ids, await accept()]);
  }, 90_000);
});
