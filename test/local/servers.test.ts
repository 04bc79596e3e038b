import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { MongoClient } from 'mongodb';
import { afterAll, expect, test } from 'vitest';
import { findMongod } from '../../local/mongod/find.ts';
import { startMongo } from '../../local/servers/mongo.ts';
import { findRedis, startRedis } from '../../local/servers/redis.ts';
import { until } from '../../testkit/until.ts';

const dir = await mkdtemp(join(tmpdir(), 'keyturn-servers-'));
const quiet = () => {};
afterAll(() => rm(dir, { recursive: true, force: true }));

test('redis keeps what it was told over kill -9 and refuses to evict', async () => {
  const redis = await startRedis({ binary: await findRedis(process.env, quiet), dir: join(dir, 'redis') });
  const client = new Redis(redis.url, { maxRetriesPerRequest: null, retryStrategy: () => 20 });
  client.on('error', quiet);
  try {
    expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    expect(await client.config('GET', 'appendonly')).toEqual(['appendonly', 'yes']);
    await client.set('kept', 'yes');
    const before = redis.pid;
    await redis.kill9();
    await redis.restart();
    expect(redis.pid).not.toBe(before);
    expect(await client.get('kept')).toBe('yes');
  } finally {
    client.disconnect();
    await redis.stop();
  }
});

test('a missing redis is installed where that is allowed, else one sentence says what to do', async () => {
  const bin = join(dir, 'bin');
  const install = async (name: string) => {
    await mkdir(bin);
    await writeFile(join(bin, name), '#!/bin/sh\n', { mode: 0o755 });
    return true;
  };
  expect(await findRedis({ PATH: bin }, quiet, install)).toBe(join(bin, 'redis-server'));
  await expect(findRedis({ PATH: '/nowhere' }, quiet, async () => false)).rejects.toThrow('docker compose up');
});

test('a second mongod on the same data is refused in words', async () => {
  const binary = await findMongod({ env: process.env, progress: quiet });
  const options = { binary, dir: join(dir, 'shared') };
  const first = await startMongo(options);
  try {
    if (process.platform === 'linux') await expect(startMongo(options)).rejects.toThrow('already runs on the data');
  } finally {
    await first.stop();
  }
});

test('a redis that cannot start says why', async () => {
  await expect(startRedis({ binary: '/bin/false', dir: join(dir, 'no-redis') })).rejects.toThrow('did not start');
});

test('mongod does transactions, keeps its data over kill -9, a restart, and a new port', async () => {
  const binary = await findMongod({ env: process.env, progress: quiet });
  const options = { binary, dir: join(dir, 'mongo') };
  const first = await startMongo(options);
  await insertInTransaction(first.uri, 1);
  await first.kill9();
  await first.startNode();
  await first.kill9();
  await first.restart();
  await insertInTransaction(first.uri, 2);
  await first.stop();

  const squatter = createServer().listen(Number(/:(\d+)\//.exec(first.uri)?.[1]), '127.0.0.1');
  const second = await startMongo(options);
  try {
    expect(second.uri).not.toBe(first.uri);
    expect(await insertInTransaction(second.uri, 3)).toBe(3);
  } finally {
    squatter.close();
    await second.stop();
  }
  const [pid] = second.pids;
  expect(pid === undefined || pid === 0 || !isAlive(pid)).toBe(true);
});

async function insertInTransaction(uri: string, n: number): Promise<number> {
  const client = new MongoClient(uri);
  try {
    const collection = client.db('kept').collection<{ _id: number }>('numbers');
    await client.withSession((session) => session.withTransaction(() => collection.insertOne({ _id: n }, { session })));
    return await collection.countDocuments();
  } finally {
    await client.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('until gives up with what it waited for', async () => {
  await expect(until(() => false, { what: 'rain', timeoutMs: 50 })).rejects.toThrow('in vain for rain');
});
