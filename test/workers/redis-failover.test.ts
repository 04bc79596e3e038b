import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findRedis, type RedisServer, startRedis } from '../../local/servers/redis.ts';
import { atLength } from '../../testkit/length.ts';
import { sendEvent } from '../../testkit/messages/events.ts';
import { NOBODY, services } from '../../testkit/services.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';

/** How long Redis is away, seconds. */
const AWAY = atLength({ short: 3, long: 30 });

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
  system = await startSystem({ ...env, ...services({ acme: NOBODY }), REDIS_URL: redis.url });
  await system.startWorkers();
});

afterAll(async () => {
  await system.stop();
  await Promise.all([redis.stop(), other.stop()]);
  await rm(dir, { recursive: true, force: true });
});

/** Accepts one event; resolves to its id. Redis need not be there. */
function accept(): Promise<string> {
  const data = {
    service: 'acme',
    subject: randomBytes(8).toString('hex'),
    accessToken: 'key-0123456789',
    kind: 'api_key',
  };
  return sendEvent(system.deps, 'credential.import.requested', data);
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
    // The longest that a claim can last.
    const claimEnds = new Date(Date.now() + 60_000);
    const set = { status: 'accepted' as const, settledAt: null, dueAt: claimEnds };
    // As if it had been claimed for a job that the wipe took.
    await system.deps.database.collection('events').updateOne({ _id: event._id }, { $set: set });
    await command('FLUSHALL');
    await system.settledEvent(event._id);
    expect(Date.now()).toBeLessThan(claimEnds.getTime());
  });

  test('while a replica is read-only nothing is lost, and after its promotion work goes on', async () => {
    await command('REPLICAOF', '127.0.0.1', String(other.port));
    const ids = [await accept(), await accept()];
    await command('REPLICAOF', 'NO', 'ONE');
    await expectAllSettled([...ids, await accept()]);
  });

  test(`after ${AWAY} seconds without Redis, accepted events are settled`, async () => {
    const away = redis.restart({ downMs: AWAY * 1_000 });
    const ids = [await accept(), await accept()];
    await away;
    await expectAllSettled([...ids, await accept()]);
  });
});
