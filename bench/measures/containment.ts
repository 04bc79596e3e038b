import { createHash, randomBytes } from 'node:crypto';
import { freePort } from '../../local/ports.ts';
import { FIRST_TENANT_ID } from '../../src/shared/access/bootstrap.ts';
import { openMaterial } from '../../src/shared/keys/material.ts';
import { reviveRetiredKeys } from '../../src/shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { makeLog } from '../../src/shared/platform/log.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import { openDeps } from '../../src/shared/runtime/open-deps.ts';
import { genericAlert } from '../../testkit/alerts.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/authorization-server.ts';
import { until } from '../../testkit/signals.ts';
import { end, forkAndHear, forkFile } from '../children.ts';
import { type Bench, type BenchContext, quantile, type Result } from '../contract.ts';
import { seedCredentials } from '../seed.ts';
import { stubProvider } from './refresh.ts';

const RUNS = 100;
const QUEUED = 5_000;
const EVERY_MS = 2;

export const plugin: Bench = {
  name: 'containment',
  about: `${RUNS} leaks, from the signed alert to the new token, alone and with ${QUEUED} refreshes queued ahead of each`,
  goal: null,
  byDefault: false,
  run: containment,
};

/** Milliseconds since the alert was sent. */
type Timing = { answered: number; refused: number; inactive: number; renewed: number };

type Bed = {
  deps: Deps;
  server: AuthorizationServer;
  call(method: string, path: string, body?: string, headers?: Record<string, string>): Promise<Response>;
  source: { path: string; secret: string };
  say: BenchContext['say'];
};

/** One API process, one worker process and an authorization server that introspects. */
export async function containment(context: BenchContext): Promise<Result> {
  const stub = await forkAndHear<{ port: number }>('./stub-server.ts');
  const server = await startAuthorizationServer({ accessTokenTtlS: 3_600 });
  const port = await freePort();
  const key = `kt_live_${randomBytes(32).toString('base64url')}`;
  const services = { ...stubProvider(`http://127.0.0.1:${stub.message.port}`), ...introspectingProvider(server) };
  const env = {
    ...context.environment(services),
    KEYTURN_PROVIDERS: 'stub,acme',
    KEYTURN_RATE_LIMIT_PER_MINUTE: '10000000',
  };
  const deps = await openDeps(
    parseConfig(env),
    { clock: systemClock, random: systemRandom, log: makeLog('warn', {}) },
    reviveRetiredKeys,
  );
  const own = { ...env, KEYTURN_PORT: String(port), KEYTURN_BOOTSTRAP_KEY: key };
  const children = [forkFile('../src/api/main.ts', [], own), forkFile('../src/workers/main.ts', [], env)];
  try {
    const bed = await makeBed({ deps, server, say: context.say }, `http://127.0.0.1:${port}`, key);
    await seedCredentials(deps, { count: QUEUED, service: 'stub', tenantId: FIRST_TENANT_ID });
    await runAll(bed, 10, 'warm', async () => {});
    const alone = await runAll(bed, RUNS, 'alone', async () => {});
    for (const [what, figure] of Object.entries(figuresOf('alone', alone))) context.say(`  ${what}: ${figure}`);
    const loaded = await runAll(bed, RUNS, 'loaded', () => queueRefreshes(deps));
    return { ratios: [], figures: { ...figuresOf('alone', alone), ...figuresOf(`${QUEUED} queued`, loaded) } };
  } finally {
    await Promise.all([...children, stub.child].map((child) => end(child)));
    await server.stop();
    await deps.close();
  }
}

function introspectingProvider(server: AuthorizationServer): Record<string, string> {
  return {
    KEYTURN_PROVIDER_ACME_TYPE: 'oauth2',
    KEYTURN_PROVIDER_ACME_ISSUER: server.issuer,
    KEYTURN_PROVIDER_ACME_CLIENT_ID: server.clientId,
    KEYTURN_PROVIDER_ACME_CLIENT_SECRET: server.clientSecret,
  };
}

async function makeBed(parts: Pick<Bed, 'deps' | 'server' | 'say'>, url: string, key: string): Promise<Bed> {
  const call: Bed['call'] = (method, path, body, headers = {}) =>
    fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body }),
    });
  await until(async () => (await call('GET', '/readyz')).ok, { what: 'the API', timeoutMs: 30_000 });
  const made = await call('POST', '/v1/alert-sources', JSON.stringify({ source: 'generic', name: 'bench' }));
  const source = (await made.json()) as { url: string; secret: string };
  return { ...parts, call, source: { path: new URL(source.url).pathname, secret: source.secret } };
}

async function runAll(bed: Bed, count: number, name: string, before: () => Promise<void>): Promise<Timing[]> {
  const timings: Timing[] = [];
  for (let number = 0; number < count; number += 1) {
    const subject = `${name}-${number}`;
    await connect(bed, subject);
    const code = await consent(bed, subject);
    await before();
    timings.push(await runOne(bed, subject, code));
    if (timings.length % 25 === 0) bed.say(`  ${name}: ${timings.length} runs`);
  }
  return timings;
}

/** The person's consent is at hand before the clock starts: what is measured is ours. */
async function runOne(bed: Bed, subject: string, code: string): Promise<Timing> {
  const doc = (await bed.deps.database.collection('credentials').findOne({ subject }))!;
  const token = (await openMaterial(bed.deps, doc)).accessToken.reveal();
  const alert = genericAlert(bed.source.secret, { token, type: 'bench' });
  const path = `/v1/credentials/${doc._id}/token`;
  const begin = performance.now();
  const since = () => performance.now() - begin;
  const wait = (what: string, condition: () => Promise<boolean>) =>
    until(condition, { what, everyMs: EVERY_MS, timeoutMs: 30_000 });
  const answer = await bed.call('POST', bed.source.path, alert.body, alert.headers);
  if (answer.status !== 202) throw new Error(`the alert was answered with ${answer.status}`);
  await answer.body?.cancel();
  const answered = since();
  if ((await bed.call('GET', path)).ok) throw new Error('a token was released after the alert was answered');
  const refused = since();
  await wait('the token to be inactive', async () => !((await bed.server.findToken(token))?.active ?? false));
  const inactive = since();
  await wait('the call for a new consent', async () => {
    const now = await bed.deps.database
      .collection('credentials')
      .findOne({ _id: doc._id }, { projection: { state: 1 } });
    return now?.state === 'reauthorization_required';
  });
  const event = await bed.call('POST', '/v1/events', code, { 'content-type': 'application/cloudevents+json' });
  if (event.status !== 202) throw new Error(`the new consent was answered with ${event.status}`);
  await event.body?.cancel();
  await wait('the new token', async () => (await bed.call('GET', path)).ok);
  return { answered, refused, inactive, renewed: since() };
}

/** The event that redeems a fresh consent. */
async function consent({ deps, server }: Bed, subject: string): Promise<string> {
  const codeVerifier = randomBytes(32).toString('base64url');
  const url = await deps.providers.get('acme').authorizationUrl!({
    redirectUri: server.redirectUri,
    state: randomBytes(16).toString('base64url'),
    codeChallenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    scopes: ['openid', 'offline_access'],
  });
  const code = new URL(await server.consent(url)).searchParams.get('code');
  const data = { service: 'acme', subject, code, codeVerifier, redirectUri: server.redirectUri };
  const id = randomBytes(8).toString('hex');
  return JSON.stringify({ specversion: '1.0', id, source: 'urn:bench', type: 'credential.exchange.requested', data });
}

async function connect(bed: Bed, subject: string): Promise<void> {
  const event = await consent(bed, subject);
  await bed.call('POST', '/v1/events', event, { 'content-type': 'application/cloudevents+json' });
  const find = () => bed.deps.database.collection('credentials').findOne({ subject, state: 'active' });
  await until(async () => (await find()) !== null, { what: 'the credential', everyMs: EVERY_MS, timeoutMs: 30_000 });
}

/** Makes all of them due and waits until the first are in the queue. */
async function queueRefreshes(deps: Deps): Promise<void> {
  const due = { 'due.refresh': new Date() };
  await deps.database.collection('credentials').updateMany({ service: 'stub' }, { $set: { ...due, claimed: {} } });
  const isQueued = async () => (await deps.hints.waiting('refresh')) > 0;
  await until(isQueued, { what: 'the refreshes to be queued', everyMs: EVERY_MS, timeoutMs: 30_000 });
}

function figuresOf(name: string, timings: Timing[]): Record<string, string> {
  const stages = { answered: 'alert answered', refused: 'release refused', inactive: 'inactive', renewed: 'new token' };
  return Object.fromEntries(
    Object.entries(stages).map(([stage, words]) => {
      const values = timings.map((timing) => timing[stage as keyof Timing]);
      return [
        `${name}: ${words}, ms p50 / p99`,
        `${quantile(values, 0.5).toFixed(0)} / ${quantile(values, 0.99).toFixed(0)}`,
      ];
    }),
  );
}
