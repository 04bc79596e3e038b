import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { beforeAll, expect, test } from 'vitest';
import { type Servers, startServers } from '../../local/servers/both.ts';
import { freePort } from '../../local/tools/ports.ts';
import { inParallel } from '../../src/shared/platform/concurrency/in-parallel.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import type { Answer } from '../../testkit/messages/caller.ts';
import type { KeyturnProcess } from '../../testkit/processes/keyturn.ts';
import type { AuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { type Load, startLoad } from './load.ts';
import { acmeOn, allSettled, connectAll, type Keyturn, makeKeyturn, startServerFor } from './support.ts';

const CREDENTIALS = 40;

/** How often a worker is killed after each kind of answer. */
const KILLS = 3;

// Short: what a killed worker holds is free again when its lease ends.
const env = testEnvironment({ KEYTURN_LEASE_SECONDS: '6' });
let servers: Servers;
let server: AuthorizationServer;
let keyturn: Keyturn;
let api: KeyturnProcess;
let load: Load;
const workers: KeyturnProcess[] = [];

beforeAll(async () => {
  const port = await freePort();
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-trouble-'));
  servers = await startServers({ env: process.env, dir, ephemeral: true, progress: () => {} });
  server = await startServerFor(port);
  keyturn = await makeKeyturn({
    ...env,
    ...acmeOn(server),
    MONGODB_URI: servers.mongo.uri,
    REDIS_URL: servers.redis.url,
    KEYTURN_PORT: String(port),
  });
  api = await keyturn.startApi();
  workers.push(await keyturn.startWorkers(), await keyturn.startWorkers());
  return async () => {
    await load?.stop();
    await Promise.all(keyturn.processes.map((one) => one.kill9()));
    await Promise.all([server.stop(), servers.stop()]);
  };
});

/** Kills a worker right after the provider has answered someone: where it hurts. */
async function killAfter(what: 'exchanges' | 'refreshes'): Promise<void> {
  const before = server.counts[what];
  await until(() => server.counts[what] > before, { what: `one of the ${what}`, everyMs: 1 });
  await workers.shift()!.kill9();
  workers.push(await keyturn.startWorkers());
}

async function flushRedis(): Promise<void> {
  const redis = new Redis(servers.redis.url);
  await redis.flushall();
  redis.disconnect();
}

test('promises 2, 3 and 4: whatever is killed, wiped or stopped, what was accepted ends with an outcome, and no grant is revoked by reuse', {
  timeout: 600_000,
}, async () => {
  await connectAll(keyturn, server, { count: CREDENTIALS, atOnce: 8 });
  load = startLoad(keyturn, server);

  for (let round = 0; round < KILLS; round += 1) await killAfter('exchanges');
  for (let round = 0; round < KILLS; round += 1) await killAfter('refreshes');
  await flushRedis();
  await killAfter('exchanges');
  await api.kill9();
  api = await keyturn.startApi();
  await servers.mongo.restart({ downMs: 10_000 });
  await flushRedis();
  await api.sigterm();
  api = await keyturn.startApi();
  await Promise.all(workers.splice(0).map((worker) => worker.kill9()));
  await flushRedis();
  workers.push(await keyturn.startWorkers(), await keyturn.startWorkers());

  const accepted = await load.stop();
  const events = await allSettled(keyturn);
  const byId = new Map(events.map((event) => [event._id, event]));
  expect(accepted.filter((id) => !byId.has(id))).toEqual([]);
  expect(events.filter(({ status, problem }) => status === 'failed' && !problem?.code)).toEqual([]);

  const credentials = await untilCalm();
  report(accepted.length, events, credentials);
  expect(server.grantsRevoked.filter(({ route }) => route === 'token')).toEqual([]);
  await assertHonest(credentials);
});

/** Every active credential has been refreshed since the trouble, and nobody holds any of them for long. */
function untilCalm(): Promise<CredentialDoc[]> {
  const since = Date.now();
  return until(
    async () => {
      const all = await keyturn.credentials();
      const stuck = all.filter((doc) => doc.state === 'active' && doc.secretChangedAt!.getTime() < since);
      return stuck.length === 0 ? all : null;
    },
    { what: 'every active credential to be refreshed again', everyMs: 200 },
  );
}

/** What is active is really alive; what is not has an entry that says why. */
async function assertHonest(credentials: CredentialDoc[]): Promise<void> {
  const [active, ended] = [
    credentials.filter(({ state }) => state === 'active'),
    credentials.filter(({ state }) => state !== 'active'),
  ];
  await inParallel(active, 10, async (doc) => {
    const answer = await releaseOf(doc);
    expect(answer.status, answer.text).toBe(200);
    const belief = await server.findToken(answer.body.accessToken as string);
    expect(belief!.expiresAt!).toBeGreaterThan(Date.parse(answer.headers.get('date')!));
  });
  for (const { _id, state, lastError } of ended) {
    expect({ state, code: lastError?.code }).toEqual({
      state: 'reauthorization_required',
      code: 'refresh_outcome_unknown',
    });
    const entries = await keyturn.call('GET', `/v1/audit?credentialId=${_id}&limit=200`);
    expect(entries.text).toMatch(/"credential.reauthorization_required"/);
    expect(entries.text).toMatch(/"refresh_outcome_unknown"/);
  }
}

/** A caller is told to come back while a refresh is under way: how long that takes is a matter of the machine. */
function releaseOf({ _id }: CredentialDoc): Promise<Answer> {
  return until(
    async () => {
      const answer = await keyturn.call('GET', `/v1/credentials/${_id}/token`);
      return answer.body.type === 'https://keyturn.dev/problems/refresh_pending' ? null : answer;
    },
    { what: `the token of ${_id}` },
  );
}

function report(
  accepted: number,
  events: { status: string; problem: { code: string } | null }[],
  credentials: CredentialDoc[],
) {
  const tally = (names: string[]) =>
    Object.fromEntries([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));
  console.log('trouble:', {
    accepted,
    refusedMeanwhile: load.refused(),
    events: tally(events.map(({ status, problem }) => (status === 'failed' ? `failed: ${problem?.code}` : status))),
    credentials: tally(
      credentials.map(({ state, lastError }) => (state === 'active' ? state : `${state}: ${lastError?.code}`)),
    ),
    refreshes: server.counts.refreshes,
    grantErrors: tally(server.grantErrors.map(({ grantType, reason }) => `${grantType}: ${reason}`)),
  });
}
