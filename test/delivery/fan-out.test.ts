import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findRedis, type RedisServer, startRedis } from '../../local/servers/redis.ts';
import { makeEntry } from '../../src/shared/store/entry.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/processes/keyturn.ts';
import { type Receiver, startReceiver } from '../../testkit/servers/receiver.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { startApi, type TestApi } from '../api/support.ts';

const HEALTHY = 90;
const ROUNDS = 10;
const ROUND_SIZE = 3;

const folder = mkdtempSync(join(tmpdir(), 'keyturn-fan-out-'));
const base = testEnvironment({
  KEYTURN_ALLOW_PRIVATE_WEBHOOKS: 'true',
  KEYTURN_CALL_TIMEOUT_SECONDS: '10',
  KEYTURN_CHECKPOINT_SECONDS: '3600',
  KEYTURN_LEASE_SECONDS: '6',
  KEYTURN_QUEUES: 'audit,deliver,sweep',
});

let redis: RedisServer;
let env: Record<string, string>;
let api: TestApi;
let receiver: Receiver;
let worker: KeyturnProcess;

beforeAll(async () => {
  // Of its own: it is going to be wiped.
  redis = await startRedis({ binary: await findRedis(process.env, () => {}), dir: folder });
  env = { ...base, REDIS_URL: redis.url };
  receiver = await startReceiver();
  api = await startApi(env);
  worker = await startWorker();
});

afterAll(async () => {
  await worker.sigterm();
  await receiver.stop();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function startWorker(): Promise<KeyturnProcess> {
  const started = await startProcess('workers', { ...env, KEYTURN_LOG_LEVEL: 'info' });
  await started.waitForLog('workers are running');
  return started;
}

type Crowd = { tenantId: string; key: string; healthy: string[]; sick: string[]; ids: Map<string, string> };

/** A tenant with its subscribers; each consumer is a path of the receiver. */
async function crowd(healthy: number, sick: { hung: number; refusing: number }): Promise<Crowd> {
  const { tenantId, key } = await api.otherTenant();
  const paths = (kind: string, count: number) =>
    Array.from({ length: count }, (_, index) => `/${tenantId}/${kind}/${index}`);
  const members = {
    healthy: paths('healthy', healthy),
    hung: paths('hung', sick.hung),
    refusing: paths('refusing', sick.refusing),
  };
  for (const path of members.hung) receiver.answer(path, 'hang');
  for (const path of members.refusing) receiver.answer(path, { status: 500 });
  const ids = new Map<string, string>();
  for (const path of Object.values(members).flat()) {
    const body = {
      name: path,
      sink: 'webhook',
      settings: { url: `${receiver.url}${path}` },
      filter: { types: ['fan.*'] },
    };
    const answer = await api.call('POST', '/v1/subscriptions', { key, body });
    expect(answer.status).toBe(201);
    ids.set(path, answer.body.id);
  }
  return { tenantId, key, healthy: members.healthy, sick: [...members.hung, ...members.refusing], ids };
}

async function happen({ tenantId }: Crowd, count: number): Promise<string[]> {
  const entries = Array.from({ length: count }, () =>
    makeEntry(api.deps, { tenantId, type: 'fan.out', actor: { kind: 'system', id: 'test' } }),
  );
  await Promise.all(entries.map((entry) => api.deps.commit({ operations: [], entries: [entry] })));
  return entries.map(({ _id }) => _id);
}

const have = (paths: string[], ids: string[]) =>
  paths.every((path) => ids.every((id) => receiver.accepted(path).has(id)));

/** Lets entries happen; how long after it happened each healthy consumer was told of each, milliseconds. */
async function round(members: Crowd): Promise<number[]> {
  const ids = await happen(members, ROUND_SIZE);
  await until(() => have(members.healthy, ids), { what: 'a round to be told' });
  const healthy = new Set(members.healthy);
  return receiver.received
    .filter(({ path, headers }) => healthy.has(path) && ids.includes(String(headers['webhook-id'])))
    .map(({ body, at }) => at - Date.parse(JSON.parse(body).timestamp));
}

const percentile = (values: number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!;

describe('a hundred subscriptions', () => {
  let members: Crowd;

  test('five that hang and five that refuse do not slow the others down', async () => {
    const alone = await crowd(HEALTHY, { hung: 0, refusing: 0 });
    members = await crowd(HEALTHY, { hung: 5, refusing: 5 });
    await round(alone);
    const [without, beside]: [number[], number[]] = [[], []];
    // By turns, so that whatever else the machine does falls on both.
    for (let turn = 0; turn < ROUNDS; turn += 1) {
      without.push(...(await round(alone)));
      beside.push(...(await round(members)));
    }
    const figures = [without, beside].map((values) => [percentile(values, 0.5), percentile(values, 0.99)] as const);
    console.log(
      `${beside.length} deliveries to ${HEALTHY} healthy of ${HEALTHY + 10}: ` +
        `alone p50 ${figures[0]![0]} ms, p99 ${figures[0]![1]} ms; ` +
        `beside five that hang and five that refuse p50 ${figures[1]![0]} ms, p99 ${figures[1]![1]} ms`,
    );
    // The figures are for people: machines are noisy. That all were told while ten were sick is what holds.
    expect(beside).toHaveLength(without.length);
  }, 180_000);

  test('kill -9 of the worker and FLUSHALL of Redis lose nothing', async () => {
    const ids = await happen(members, 30);
    const sample = members.healthy[0]!;
    await until(() => receiver.accepted(sample).has(ids[0]!), {
      what: 'deliveries to begin',
      everyMs: 2,
    });
    await worker.kill9();
    ids.push(...(await happen(members, 30)));
    const admin = new Redis(redis.url);
    await admin.flushall();
    admin.disconnect();
    expect(have(members.healthy, ids)).toBe(false);
    worker = await startWorker();
    ids.push(...(await happen(members, 30)));
    await until(() => have(members.healthy, ids), { what: 'everything to arrive', timeoutMs: 120_000, everyMs: 100 });
    const counts = members.healthy.flatMap((path) => ids.map((id) => receiver.accepted(path).get(id) ?? 0));
    const doubles = counts.filter((count) => count > 1).length;
    console.log(`${counts.length} deliveries, 0 lost, ${doubles} told twice over kill -9 and FLUSHALL`);
    expect(counts.every((count) => count >= 1)).toBe(true);
  }, 240_000);

  test('what the sick were not told is still due to them, and a replay tells it', async () => {
    const { tenantId, key, sick } = members;
    const { deps } = api;
    const seqs = (await deps.database.collection('audit').find({ tenantId, type: 'fan.out' }).toArray()).map(
      ({ seq }) => seq,
    );
    for (const path of sick) {
      const subscriptionId = members.ids.get(path)!;
      const { cursor } = (await deps.database.collection('subscriptions').findOne({ _id: subscriptionId, tenantId }))!;
      const kept = await deps.database
        .collection('deliveries')
        .distinct('seq', { tenantId, subscriptionId, status: { $ne: 'delivered' } });
      expect(seqs.filter((seq) => seq <= cursor && !kept.includes(seq))).toEqual([]);
    }
    for (const path of sick) {
      receiver.answer(path, 'accept');
      const url = `/v1/subscriptions/${members.ids.get(path)}`;
      await api.call('POST', `${url}/replay`, { key, body: { fromSeq: 1 } });
      await api.call('POST', `${url}/resume`, { key });
    }
    await until(() => sick.every((path) => receiver.accepted(path).size >= seqs.length), {
      what: 'the replay',
    });
  });
});
