import { randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Servers, startServers } from '../../local/servers/both.ts';
import { openBrowser } from '../../local/tools/browser.ts';
import { genericAlert } from '../../testkit/messages/alerts.ts';
import { type Answer, type Caller, toAnswer } from '../../testkit/messages/caller.ts';
import { cloudEvent, STRUCTURED } from '../../testkit/messages/events.ts';
import { type StubProvider, startStubProvider } from '../../testkit/providers/stub-provider.ts';
import { type OtlpCollector, startOtlpCollector } from '../../testkit/servers/otlp-collector.ts';
import { type Receiver, startReceiver } from '../../testkit/servers/receiver.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import {
  type Canaries,
  findCanaries,
  newCanary,
  type Place,
  placesInFiles,
  placesInMongo,
  placesInRedis,
} from './canary/canaries.ts';
import { sendNonsense } from './canary/nonsense.ts';
import { answerWithCanaries, ECHOES } from './canary/provider.ts';
import { authorize, type Keyturn, makeKeyturn, newApiKey, stubAt } from './support.ts';

const env = testEnvironment();
const canaries: Canaries = new Map();
let servers: Servers;
let stub: StubProvider;
let collector: OtlpCollector;
let receiver: Receiver;
let keyturn: Keyturn;
let redis: Redis;
/** Every reply but those whose purpose is to hand a secret over once. */
const replies: Place[] = [];
/** Every command that Redis was sent. */
const commands: string[] = [];

const canary = (name: string) => newCanary(canaries, name);

beforeAll(async () => {
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-canary-'));
  servers = await startServers({ env: process.env, dir, ephemeral: true, progress: () => {} });
  [stub, collector, receiver] = await Promise.all([startStubProvider(), startOtlpCollector(), startReceiver()]);
  redis = new Redis(servers.redis.url);
  const monitor = await redis.monitor();
  monitor.on('monitor', (_time: string, args: string[]) => commands.push(args.join(' ')));
  keyturn = await makeKeyturn(environment());
  await Promise.all([keyturn.startApi(), keyturn.startWorkers()]);
  return async () => {
    monitor.disconnect();
    redis.disconnect();
    await Promise.all(keyturn.processes.map((one) => one.kill9()));
    await Promise.all([stub.stop(), collector.stop(), receiver.stop(), servers.stop()]);
  };
});

function environment(): Record<string, string> {
  const rootKey = randomBytes(32);
  const adminKey = newApiKey();
  canaries.set('root key', rootKey.toString('base64'));
  canaries.set('root key in hex', rootKey.toString('hex'));
  canaries.set('admin key', adminKey);
  stub.always((call) => answerWithCanaries(canaries, call));
  return {
    ...env,
    MONGODB_URI: servers.mongo.uri,
    REDIS_URL: servers.redis.url,
    KEYTURN_ROOT_KEYS: rootKey.toString('base64'),
    KEYTURN_BOOTSTRAP_KEY: adminKey,
    KEYTURN_LOG_LEVEL: 'trace',
    ...stubAt(stub, canary('client-secret')),
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '200',
    KEYTURN_ALLOW_PRIVATE_WEBHOOKS: 'true',
  };
}

const HANDS_OVER = /\/token$|^\/v1\/principals|^\/v1\/tenants|^\/v1\/authorizations/;

/** Like the caller, and remembers the reply. */
function remember(call: Caller): Caller {
  return async (method, path, body, headers) => {
    const answer = await call(method, path, body, headers);
    if (answer.status >= 400 || !HANDS_OVER.test(path)) keepReply(`${method} ${path.slice(0, 40)}`, answer);
    return answer;
  };
}

function keepReply(where: string, { status, text, headers }: Answer): void {
  replies.push({ where: `${status} to ${where}`, text: `${text}\n${JSON.stringify([...headers])}` });
}

async function act(call: Caller, type: string, data: object): Promise<Record<string, unknown>> {
  const { body } = await call('POST', '/v1/events', cloudEvent(type, data), STRUCTURED);
  const { eventId } = body.results[0];
  return until(
    async () => {
      const progress = (await call('GET', `/v1/events/${eventId}`)).body;
      // An event that failed once and waits for its next attempt has been down the path that matters.
      return progress.status !== 'accepted' && (progress.status !== 'processing' || progress.problem) ? progress : null;
    },
    { what: `${type} to be acted on`, everyMs: 50 },
  );
}

const importOf = (subject: string, more: object = {}) => ({
  service: 'stub',
  subject,
  accessToken: canary(`imported-${subject}`),
  ...more,
});

describe('promise 1: no secret is found in the clear, whichever path it took', () => {
  test('secrets take every good path', async () => {
    const call = remember(keyturn.call);
    await connectByBrowser();
    const exchange = await act(call, 'credential.exchange.requested', exchangeOf('ok'));
    expect(exchange).toMatchObject({ status: 'succeeded' });
    const key = await act(call, 'credential.import.requested', importOf('api-key'));
    const oauth = await act(
      call,
      'credential.import.requested',
      importOf('oauth', {
        kind: 'oauth2',
        refreshToken: canary('imported-refresh'),
        registrationAccessToken: canary('registration'),
        expiresAt: '2020-01-01T00:00:00Z',
      }),
    );
    for (const { credentialId } of [exchange, key, oauth]) {
      const path = `/v1/credentials/${credentialId}`;
      const released = await call('GET', `${path}/token`);
      expect(released.status, released.text).toBe(200);
      expect(released.body.accessToken).toMatch(/^canary-/);
      await call('GET', path);
    }
    const made = await call('POST', '/v1/principals', { name: 'app', permissions: ['stub:release'] });
    canaries.set("an app's key", made.body.key as string);
    await remember(keyturn.as(made.body.key as string))('GET', `/v1/credentials/${key.credentialId}/token`);
    expect(await act(call, 'credential.refresh.requested', { credentialId: exchange.credentialId })).toMatchObject({
      status: 'succeeded',
    });
    const end = { credentialId: exchange.credentialId, destroy: true };
    expect(await act(call, 'credential.revocation.requested', end)).toMatchObject({ status: 'succeeded' });
    for (const path of ['/v1/credentials', '/v1/audit?limit=200', '/metrics', '/openapi.json', '/readyz'])
      await call('GET', path);
  });

  test('secrets take the way of a leak, and of what is told about it', async () => {
    const settings = { url: `${receiver.url}/in` };
    const told = await keyturn.call('POST', '/v1/subscriptions', { name: 'soc', sink: 'webhook', settings });
    canaries.set('webhook secret', told.body.secret as string);
    const source = await keyturn.call('POST', '/v1/alert-sources', { name: 'scanner', source: 'generic' });
    canaries.set('alert secret', source.body.secret as string);
    const call = remember(keyturn.call);
    const data = importOf('leaked');
    await act(call, 'credential.import.requested', data);
    const { body, headers } = genericAlert(source.body.secret as string, { token: data.accessToken });
    const { pathname } = new URL(source.body.url as string);
    expect((await call('POST', pathname, body, { ...headers, 'webhook-signature': 'v1,AAAA' })).status).toBe(401);
    expect((await call('POST', pathname, body, headers)).status).toBeLessThan(300);
    await until(() => receiver.received.some((message) => message.body.includes('incident.opened')), {
      what: 'the subscriber to be told of the incident',
    });
    await call('GET', '/v1/incidents');
  });

  test('secrets take every bad path', async () => {
    const call = remember(keyturn.call);
    for (const [mark] of ECHOES) {
      const exchange = await act(call, 'credential.exchange.requested', exchangeOf(mark));
      expect(exchange, mark).toMatchObject({ problem: { status: expect.any(Number) } });
      const refreshToken = canary(`refresh-${mark}`);
      const data = importOf(`refuses-${mark}`, { kind: 'oauth2', refreshToken, expiresAt: '2020-01-01T00:00:00Z' });
      const { credentialId } = await act(call, 'credential.import.requested', data);
      await call('GET', `/v1/credentials/${credentialId}/token`);
      await act(call, 'credential.revocation.requested', { credentialId });
    }
    await sendNonsense(canaries, (key) => remember(key === undefined ? keyturn.call : keyturn.as(key)));
    await call('GET', '/metrics');
    const worker = keyturn.processes[1]!;
    // Killed with something in hand, so that its journal is there to be read.
    await worker.kill9();
  });

  test('none of them is in a log, a trace, an error, a reply, a metric, MongoDB, Redis or a file', async () => {
    expect(canaries.size).toBeGreaterThan(40);
    // What the API still has to send or to write is looked through as well.
    await keyturn.processes[0]!.sigterm();
    await heard('the-end');
    const places = await allPlaces();
    // Each place has something in it: an empty one would prove nothing.
    for (const kind of ['log', 'trace', 'command', 'file', 'MongoDB', 'Redis', 'webhook', '409', '400']) {
      expect(
        places.some(({ where, text }) => where.includes(kind) && text.length > 0),
        kind,
      ).toBe(true);
    }
    console.log('canaries:', canaries.size, 'places:', places.length);
    expect(findCanaries(canaries, places)).toEqual([]);
  });

  test('the search finds a canary that is planted in any of these places, in any spelling', async () => {
    const value = canary('planted');
    const only: Canaries = new Map([['planted', value]]);
    await keyturn.mongo
      .db(keyturn.env.KEYTURN_DATABASE)
      .collection<{ _id: string }>('events')
      .insertOne({ _id: 'planted', data: { deep: [{ value }] } } as never);
    await redis.hset('planted-hash', 'field', Buffer.from(`user:${value}:x`).toString('base64'));
    await redis.xadd('planted-stream', '*', 'field', Buffer.from(value).toString('hex'));
    await redis.zadd('planted-zset', 1, encodeURIComponent(`${value} & more`));
    await fetch(`${collector.url}/v1/traces`, { method: 'POST', body: JSON.stringify({ attribute: value }) });
    keepReply('planted', await toAnswer(new Response(`the token ${value} is wrong`, { status: 400 })));
    await heard('planted-zset');
    const found = findCanaries(only, await allPlaces());
    expect(new Set(found)).toEqual(
      new Set([
        'planted in MongoDB events',
        'planted in Redis hash',
        'planted in Redis stream',
        'planted in Redis zset',
        'planted in commands to Redis',
        'planted in traces',
        'planted in 400 to planted',
      ]),
    );
    expect(findCanaries(only, [{ where: 'log', text: `{"msg":"${value}"}` }])).toEqual(['planted in log']);
  });
});

/** MONITOR tells of commands a little later; this waits until it has told of all that came before. */
async function heard(mark: string): Promise<void> {
  await redis.exists(mark);
  await until(() => commands.some((command) => command === `exists ${mark}`), { what: 'MONITOR' });
}

async function allPlaces(): Promise<Place[]> {
  return [
    ...keyturn.processes.map((one) => ({ where: `log of ${one.pid}`, text: one.output() })),
    { where: 'traces', text: collector.received() },
    { where: 'commands to Redis', text: commands.join('\n') },
    ...replies,
    ...receiver.received.map(({ headers, body }) => ({
      where: 'webhook',
      text: `${JSON.stringify(headers)}\n${body}`,
    })),
    ...placesInFiles(join(keyturn.env.KEYTURN_JOURNAL_DIR!)),
    ...(await placesInRedis(redis)),
    ...(await placesInMongo(keyturn.mongo, keyturn.env.KEYTURN_DATABASE!)),
  ];
}

function exchangeOf(mark: string): object {
  return {
    service: 'stub',
    subject: `exchange-${mark}`,
    code: canary(`code-${mark}`),
    codeVerifier: `${canary(`verifier-${mark}`)}-${'v'.repeat(20)}`,
    redirectUri: `${keyturn.baseUrl}/v1/oauth/callback`,
    scopes: ['read'],
  };
}

/** A person's way, good and bad: state, cookie, code and verifier are secrets as well. */
async function connectByBrowser(): Promise<void> {
  const url = await authorize(keyturn, 'stub', 'by-browser');
  const browser = openBrowser();
  const start = await browser.request(url);
  const state = new URL(start.headers.get('location')!).searchParams.get('state')!;
  canaries.set('state', state);
  canaries.set('flow cookie', start.headers.getSetCookie()[0]!.split(';')[0]!.split('=')[1]!);
  const callback = `${keyturn.baseUrl}/v1/oauth/callback?code=${canary('code-browser')}&state=${state}`;
  keepReply('the start page of another browser', await toAnswer(await openBrowser().request(url)));
  keepReply('the callback of another browser', await toAnswer(await openBrowser().request(callback)));
  const page = await toAnswer(await browser.request(callback));
  expect(page.status, page.text).toBe(200);
  keepReply('the callback', page);
  keepReply('the callback again', await toAnswer(await browser.request(callback)));
}
