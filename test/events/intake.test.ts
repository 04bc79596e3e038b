import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Queue, QueueEvents } from 'bullmq';
import { Redis } from 'ioredis';
import { CompactEncrypt, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppError } from '../../src/shared/platform/errors.ts';
import type { WorkerDeps } from '../../src/shared/work/job.ts';
import { answerExternal } from '../../src/workers/external-jobs.ts';
import { type Signing, signedHeaders } from '../../testkit/messages/signed.ts';
import { testRedisUrl } from '../../testkit/servers/for-tests.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { PATIENCE_MS, until } from '../../testkit/until.ts';
import { ACME, importEvent, startApi, type TestApi } from '../api/support.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const env: Record<string, string> = { ...testEnvironment(), ...ACME };
const prefix = `{${env.KEYTURN_QUEUE_PREFIX}:intake-0}`;
const connection = { url: testRedisUrl() };
const queue = new Queue('intake-0', { connection, prefix });
const outcomes = new QueueEvents('intake-0', { connection, prefix });
const redis = new Redis(testRedisUrl());
let api: TestApi;
let encKey: JWK;

beforeAll(async () => {
  api = await startApi(env);
  await api.startWorkers();
  await outcomes.waitUntilReady();
  const { body } = await api.call('GET', '/.well-known/jwks.json', { key: null });
  const found = (body.keys as JWK[]).filter(({ use }) => use === 'enc');
  expect(found).toMatchObject([{ kty: 'EC', crv: 'P-256', alg: 'ECDH-ES+A256KW' }]);
  encKey = found[0]!;
});

afterAll(async () => {
  await Promise.all([queue.close(), outcomes.close()]);
  redis.disconnect();
});

type Sender = { id: string; secret: string };

async function sender(...permissions: string[]): Promise<Sender> {
  const body = { name: 'automation', permissions, requireSignature: true };
  const made = await api.call('POST', '/v1/principals', { body });
  return { id: made.body.id, secret: made.body.signingSecret };
}

function refreshEvent(credentialId: string, fields: Record<string, unknown> = {}) {
  return importEvent({ type: 'credential.refresh.requested', data: { credentialId }, ...fields });
}

async function sealed(
  data: unknown,
  by: Sender,
  { kid = encKey.kid, iss = by.id, key = encKey } = {},
): Promise<string> {
  const header = { alg: 'ECDH-ES+A256KW', enc: 'A256GCM', kid, iss };
  const plain = new TextEncoder().encode(JSON.stringify(data));
  return new CompactEncrypt(plain).setProtectedHeader(header).encrypt(await importJWK(key, header.alg));
}

function add(by: Sender, event: unknown, { signing, text }: { signing?: Partial<Signing>; text?: string } = {}) {
  const body = text ?? JSON.stringify(event);
  const headers = signedHeaders(JSON.stringify(event), { secret: by.secret, ...signing });
  return queue.add('event', { principalId: by.id, event: body, headers });
}

type Outcome = { results: { status: string; eventId: string; problem?: { type: string } }[] };

const done = async (job: Awaited<ReturnType<typeof add>>) =>
  (await job.waitUntilFinished(outcomes, PATIENCE_MS)) as Outcome;

/** The problem of a job that is refused. */
async function refused(job: Awaited<ReturnType<typeof add>>) {
  const error = await job.waitUntilFinished(outcomes, PATIENCE_MS).then(
    () => null,
    (thrown: Error) => thrown,
  );
  expect(error, 'the job was taken').not.toBeNull();
  return JSON.parse(error!.message) as { type: string; status: number; detail: string };
}

const entries = async () => (await api.call('GET', '/v1/audit?type=intake.refused&limit=200')).body.items;

/** Everything of the queue that lies in Redis, as text. */
async function contentOfRedis(): Promise<string> {
  const keys = await redis.keys(`${prefix.replace('{', '\\{')}:intake-0:*`);
  const values = await Promise.all(keys.map((key) => redis.hgetall(key).catch(() => ({}))));
  return JSON.stringify(values);
}

describe('the intake queue', () => {
  test('promise 2: a signed event is in MongoDB when its job completes, and sent again it is a duplicate', async () => {
    const by = await sender('acme:refresh');
    const event = refreshEvent((await api.seed())._id);
    const { results } = await done(await add(by, event));
    expect(results).toMatchObject([{ id: event.id, status: 'accepted' }]);
    const doc = await api.deps.database.collection('events').findOne({ _id: results[0]!.eventId });
    expect(doc).toMatchObject({ principalId: by.id, source: 'urn:test', origin: { ip: null } });
    expect((await done(await add(by, event))).results).toMatchObject([
      { status: 'duplicate', eventId: results[0]!.eventId },
    ]);
  });

  test('a batch is judged event by event, and what was refused of it is on the record', async () => {
    const by = await sender('acme:refresh');
    const { _id } = await api.seed();
    const batch = [
      refreshEvent(_id),
      refreshEvent(_id, { source: 'keyturn:api' }),
      refreshEvent(`cred_${'0'.repeat(32)}`),
    ];
    const { results } = await done(await add(by, batch));
    expect(results.map(({ status }) => status)).toEqual(['accepted', 'rejected', 'rejected']);
    expect((await entries()).at(-1)).toMatchObject({
      reason: 'invalid_event',
      outcome: 'denied',
      detail: { principalId: by.id, rejected: 2 },
    });
  });

  test('a day-old signature still counts: workers may have been away', async () => {
    const by = await sender('acme:refresh');
    const event = refreshEvent((await api.seed())._id);
    const hours = (count: number) => new Date(Date.now() - count * 3_600_000);
    expect((await done(await add(by, event, { signing: { at: hours(23) } }))).results).toHaveLength(1);
    expect(await refused(await add(by, event, { signing: { at: hours(25) } }))).toMatchObject({
      detail: expect.stringContaining('more than a day'),
    });
  });

  test('wrong key, text, sender, permission, type and form are refused, each with its problem, on the record', async () => {
    const by = await sender('acme:read');
    const plain = await api.call('POST', '/v1/principals', { body: { name: 'unsigned', permissions: ['*:*'] } });
    const revoked = await sender('*:*');
    await api.call('DELETE', `/v1/principals/${revoked.id}`);
    const event = refreshEvent((await api.seed())._id);
    const secret = `whsec_${randomBytes(32).toString('base64')}`;
    const before = (await entries()).length;
    const refusals = [
      [add(by, event, { signing: { secret } }), 'signature_invalid'],
      [add(by, event, { text: `${JSON.stringify(event)} ` }), 'signature_invalid'],
      [add({ id: plain.body.id, secret }, event), 'unauthenticated'],
      [add(revoked, event), 'unauthenticated'],
      [add(by, event), 'permission_denied'],
      [add(by, importEvent({ type: 'no.such.type', data: {} })), 'invalid_event'],
      [add(by, 'no event'), 'invalid_event'],
    ] as const;
    for (const [job, code] of refusals) expect((await refused(await job)).type).toMatch(new RegExp(`${code}$`));
    const recorded = (await entries()).slice(before).map(({ reason }: { reason: string }) => reason);
    expect(recorded.sort()).toEqual(refusals.map(([, code]) => code).sort());
    expect((await refused((await queue.add('event', { hello: 'CANARY' })) as never)).type).toMatch(/invalid_request$/);
    expect((await refused(await add({ id: 'prn_none', secret }, event))).type).toMatch(/unauthenticated$/);
    expect(await contentOfRedis()).not.toContain('CANARY');
  });
});

describe('secrets by queue', () => {
  const secret = { service: 'acme', subject: 'by-queue', accessToken: 'key-CANARY-77' };

  test('promise 1: encrypted to the published key a secret arrives, and is nowhere in the clear', async () => {
    const by = await sender('acme:import');
    const event = importEvent({ data: await sealed(secret, by), datacontenttype: 'application/jose' });
    const { results } = await done(await add(by, event));
    expect(results).toMatchObject([{ status: 'accepted' }]);
    await api.settledEvent(results[0]!.eventId);
    const doc = await api.credential({ subject: 'by-queue' });
    const released = await api.call('GET', `/v1/credentials/${doc._id}/token`);
    expect(released.body.accessToken).toBe(secret.accessToken);
    expect(await contentOfRedis()).not.toContain('CANARY');
    expect(await contentOfRedis()).not.toContain(String(event.data));
  });

  test('promise 1: in the clear it is refused, removed from Redis at once, and on the record', async () => {
    const by = await sender('acme:import');
    const problem = await refused(await add(by, [importEvent(), refreshEvent((await api.seed())._id)]));
    expect(problem).toMatchObject({ status: 400, detail: expect.stringContaining('data.accessToken') });
    expect(JSON.stringify(problem)).not.toContain('CANARY');
    expect(await contentOfRedis()).not.toContain('CANARY');
    expect((await entries()).at(-1)).toMatchObject({ reason: 'invalid_event', detail: { principalId: by.id } });
    expect(await api.deps.database.collection('events').countDocuments({ principalId: by.id })).toBe(0);
  });

  test("promise 10: nobody passes another's encrypted secret off as its own", async () => {
    const [victim, thief] = [await sender('acme:import'), await sender('acme:import')];
    const stolen = importEvent({ data: await sealed(secret, victim) });
    expect((await refused(await add(thief, stolen))).detail).toContain('`iss`');
  });

  test('a JWE to another key, of another kind, or touched on the way does not open', async () => {
    const by = await sender('acme:import');
    const { publicKey } = await generateKeyPair('ECDH-ES+A256KW', { crv: 'P-256', extractable: true });
    const good = await sealed(secret, by);
    const bad = [
      await sealed(secret, by, { key: await exportJWK(publicKey) }),
      await sealed(secret, by, { kid: 'none' }),
      `${good.slice(0, -4)}AAAA`,
      'a.b.c',
      'no JWE',
    ];
    for (const data of bad) {
      expect((await refused(await add(by, importEvent({ data })))).type).toMatch(/invalid_event$/);
    }
  });
});

describe('a job that cannot be taken yet', () => {
  const workerDeps = () => ({ ...api.deps, workerId: 'wrk_x' }) as unknown as WorkerDeps;

  async function answer(code: 'store_unavailable' | 'internal' | 'conflict', attemptsStarted: number) {
    const calls: string[] = [];
    const headers = { 'webhook-id': 'a', 'webhook-timestamp': '1', 'webhook-signature': 'v1,x' };
    const message = {
      data: { principalId: 'prn_x', event: '{}', headers },
      attemptsStarted,
      updateData: async () => void calls.push('emptied'),
      moveToDelayed: async () => void calls.push('delayed'),
    };
    const job = {
      name: 'intake' as const,
      process: async () => Promise.reject(new AppError(code)),
      external: { refused: async () => void calls.push('recorded') },
    };
    const given = { token: 't', draining: new AbortController().signal };
    const thrown = await answerExternal(workerDeps(), job, message as never, given).catch((error: Error) => error.name);
    return { thrown, calls };
  }

  test('promise 2: waits, whole and uncounted, while MongoDB is away; what nobody foresaw is tried a few times only', async () => {
    expect(await answer('store_unavailable', 500)).toEqual({ thrown: 'DelayedError', calls: ['delayed'] });
    expect(await answer('internal', 1)).toEqual({ thrown: 'DelayedError', calls: ['delayed'] });
    const over = { thrown: 'UnrecoverableError', calls: ['emptied', 'recorded'] };
    expect(await answer('internal', 10)).toEqual(over);
    expect(await answer('conflict', 1)).toEqual(over);
  });
});

describe('docs/automation.md', () => {
  test('its producer works as it stands there, and run again it is told that nothing is new', async () => {
    const text = readFileSync(`${ROOT}docs/automation.md`, 'utf8');
    const program = /```js\n(import[\s\S]+?)```/.exec(text)![1]!;
    const by = await sender('acme:import');
    const run = () =>
      new Promise<string>((resolve, reject) => {
        const child = execFile(
          process.execPath,
          ['--input-type=module', '-'],
          {
            cwd: ROOT,
            timeout: PATIENCE_MS,
            env: {
              PATH: process.env.PATH,
              REDIS_URL: testRedisUrl(),
              KEYTURN_QUEUE_PREFIX: env.KEYTURN_QUEUE_PREFIX,
              KEYTURN_PRINCIPAL: by.id,
              KEYTURN_SIGNING_SECRET: by.secret,
              KEYTURN_ENC_KEY: JSON.stringify(encKey),
            },
          },
          (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout.trim())),
        );
        child.stdin?.end(program);
      });
    const first = await run();
    expect(first).toMatch(/^accepted evt_/);
    expect(await run()).toBe(first.replace('accepted', 'duplicate'));
    await until(() => api.deps.database.collection('credentials').findOne({ subject: 'user-1' }), {
      what: 'the imported credential',
    });
  });
});
