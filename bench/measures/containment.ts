import { openMaterial } from '../../src/shared/keys/material.ts';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import { genericAlert } from '../../testkit/messages/alerts.ts';
import { type Caller, callerAt } from '../../testkit/messages/caller.ts';
import { consentCode } from '../../testkit/messages/consent.ts';
import { cloudEvent, STRUCTURED } from '../../testkit/messages/events.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { atIssuer } from '../../testkit/services.ts';
import { until } from '../../testkit/until.ts';
import { openBed } from '../bed.ts';
import { type Bench, type BenchContext, quantile, type Result } from '../contract.ts';

const RUNS = 100;
const QUEUED = 5_000;
const EVERY_MS = 2;

export const bench: Bench = {
  name: 'containment',
  about: `${RUNS} leaks, from the signed alert to the new token, alone and with ${QUEUED} refreshes queued ahead of each`,
  goal: null,
  byDefault: false,
  run,
};

/** Milliseconds since the alert was sent. */
type Timing = { answered: number; refused: number; inactive: number; renewed: number };

/** Where it happens. */
type Scene = {
  deps: Deps;
  server: AuthorizationServer;
  call: Caller;
  source: { path: string; secret: string };
  say: BenchContext['say'];
};

/** One API process, one worker process and an authorization server that introspects. */
async function run(context: BenchContext): Promise<Result> {
  const server = await startAuthorizationServer({ accessTokenTtlS: 3_600 });
  try {
    await using bed = await openBed(context, { services: { acme: atIssuer(server) } });
    const api = await bed.startApi();
    bed.startWorker();
    const scene = await makeScene({ deps: bed.deps, server, say: context.say }, callerAt(api.url, api.key));
    await seedCredentials(bed.deps, { count: QUEUED, service: 'stub', tenantId: api.tenantId });
    await runAll(scene, 10, 'warm', async () => {});
    const alone = await runAll(scene, RUNS, 'alone', async () => {});
    for (const [what, figure] of Object.entries(figuresOf('alone', alone))) context.say(`  ${what}: ${figure}`);
    const loaded = await runAll(scene, RUNS, 'loaded', () => queueRefreshes(bed.deps));
    return { ratios: [], figures: { ...figuresOf('alone', alone), ...figuresOf(`${QUEUED} queued`, loaded) } };
  } finally {
    await server.stop();
  }
}

async function makeScene(parts: Pick<Scene, 'deps' | 'server' | 'say'>, call: Caller): Promise<Scene> {
  const { body } = await call('POST', '/v1/alert-sources', { source: 'generic', name: 'bench' });
  return { ...parts, call, source: { path: new URL(body.url).pathname, secret: body.secret } };
}

async function runAll(scene: Scene, count: number, name: string, before: () => Promise<void>): Promise<Timing[]> {
  const timings: Timing[] = [];
  for (let number = 0; number < count; number += 1) {
    const subject = `${name}-${number}`;
    await connect(scene, subject);
    const code = await consent(scene, subject);
    await before();
    timings.push(await runOne(scene, subject, code));
    if (timings.length % 25 === 0) scene.say(`  ${name}: ${timings.length} runs`);
  }
  return timings;
}

/** The person's consent is at hand before the clock starts: what is measured is ours. */
async function runOne(scene: Scene, subject: string, code: object): Promise<Timing> {
  const doc = (await scene.deps.database.collection('credentials').findOne({ subject }))!;
  const token = (await openMaterial(scene.deps, doc)).accessToken.reveal();
  const alert = genericAlert(scene.source.secret, { token, type: 'bench' });
  const path = `/v1/credentials/${doc._id}/token`;
  const begin = performance.now();
  const since = () => performance.now() - begin;
  const wait = (what: string, condition: () => Promise<boolean>) => until(condition, { what, everyMs: EVERY_MS });
  const answer = await scene.call('POST', scene.source.path, alert.body, alert.headers);
  if (answer.status !== 202) throw new Error(`the alert was answered with ${answer.status}`);
  const answered = since();
  if ((await scene.call('GET', path)).status === 200)
    throw new Error('a token was released after the alert was answered');
  const refused = since();
  await wait('the token to be inactive', async () => !((await scene.server.findToken(token))?.active ?? false));
  const inactive = since();
  await wait('the call for a new consent', async () => {
    const now = await scene.deps.database
      .collection('credentials')
      .findOne({ _id: doc._id }, { projection: { state: 1 } });
    return now?.state === 'reauthorization_required';
  });
  const event = await scene.call('POST', '/v1/events', code, STRUCTURED);
  if (event.status !== 202) throw new Error(`the new consent was answered with ${event.status}`);
  await wait('the new token', async () => (await scene.call('GET', path)).status === 200);
  return { answered, refused, inactive, renewed: since() };
}

/** The event that redeems a fresh consent. */
async function consent({ deps, server }: Scene, subject: string): Promise<object> {
  const data = await consentCode(server, { subject, provider: deps.providers.get('acme') });
  return cloudEvent('credential.exchange.requested', data, { source: 'urn:bench' });
}

async function connect(scene: Scene, subject: string): Promise<void> {
  const event = await consent(scene, subject);
  await scene.call('POST', '/v1/events', event, STRUCTURED);
  const find = () => scene.deps.database.collection('credentials').findOne({ subject, state: 'active' });
  await until(async () => (await find()) !== null, { what: 'the credential', everyMs: EVERY_MS });
}

/** Makes all of them due and waits until the first are in the queue. */
async function queueRefreshes(deps: Deps): Promise<void> {
  const due = { 'due.refresh': new Date() };
  await deps.database.collection('credentials').updateMany({ service: 'stub' }, { $set: { ...due, claimed: {} } });
  const isQueued = async () => (await deps.hints.waiting('refresh')) > 0;
  await until(isQueued, { what: 'the refreshes to be queued', everyMs: EVERY_MS });
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
