import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../local/tools/ports.ts';
import { atLength } from '../../testkit/length.ts';
import type { Answer } from '../../testkit/messages/caller.ts';
import type { KeyturnProcess } from '../../testkit/processes/keyturn.ts';
import type { AuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { acmeOn, connectAll, type Keyturn, makeKeyturn, startServerFor } from './support.ts';

/** The promise is made for the long run; a slow machine may ask for less. */
const KEEP_ALIVE = {
  credentials: Number(process.env.E2E_CREDENTIALS ?? atLength({ short: 40, long: 200 })),
  seconds: Number(process.env.E2E_SECONDS ?? atLength({ short: 15, long: 60 })),
};

const env = testEnvironment();
let server: AuthorizationServer;
let keyturn: Keyturn;
let workers: KeyturnProcess[];

beforeAll(async () => {
  const port = await freePort();
  server = await startServerFor(port);
  keyturn = await makeKeyturn({
    ...env,
    ...acmeOn(server),
    KEYTURN_PORT: String(port),
    // Nobody dies here, and a machine that is slow is not one that is dead.
    KEYTURN_CALL_TIMEOUT_SECONDS: '30',
    KEYTURN_LEASE_SECONDS: '30',
  });
  await keyturn.startApi();
  workers = [await keyturn.startWorkers(), await keyturn.startWorkers()];
  return () => server.stop();
});

describe(`${KEEP_ALIVE.credentials} credentials with access tokens of 5 s`, () => {
  test('promise 3: each is connected by a person in a browser', { timeout: 300_000 }, async () => {
    await connectAll(keyturn, server, { count: KEEP_ALIVE.credentials, atOnce: 12 });
    const stored = await until(
      async () => {
        const found = await keyturn.credentials({ state: 'active' });
        return found.length === KEEP_ALIVE.credentials ? found : null;
      },
      { what: 'every exchange' },
    );
    expect(stored.every(({ hasRefreshToken }) => hasRefreshToken)).toBe(true);
  });

  test(`promise 3: two worker processes keep them alive for ${KEEP_ALIVE.seconds} s; no grant is revoked, and every token that is released is active`, {
    timeout: (KEEP_ALIVE.seconds + 240) * 1000,
  }, async () => {
    const ids = (await keyturn.credentials()).map(({ _id }) => _id);
    const tally = await callAtRandom(ids, KEEP_ALIVE.seconds * 1000);
    const after = await keyturn.credentials();
    const refreshes = after.reduce((sum, { generation }) => sum + generation - 1, 0);
    const errors = after.flatMap(({ state, lastError }) => (lastError ? [`${state}: ${lastError.code}`] : []));
    console.log('keep-alive:', { ...tally, refreshes, errors, grantErrors: server.grantErrors, warnings: warnings() });
    expect(tally.bad).toEqual([]);
    // On a machine that is too slow a caller may be told to come back; never is one handed a dead token instead.
    const { 'https://keyturn.dev/problems/refresh_pending': pending = 0, ...others } = tally.refused;
    expect(others).toEqual({});
    expect(pending).toBeLessThan(tally.released / 100);
    expect(server.grantsRevoked).toEqual([]);
    expect(server.grantErrors).toEqual([]);
    expect(after.filter(({ state }) => state !== 'active')).toEqual([]);
    // Each lived through many lives of its token: nobody was forgotten.
    const fewest = Math.floor(KEEP_ALIVE.seconds / 5) - 1;
    expect(after.filter(({ generation }) => generation < fewest)).toEqual([]);
    // Both processes had their share.
    expect(await refreshers()).toHaveLength(2);
  });
});

test('promise 3: 50 callers ask for a token that has expired: one refresh, 50 good answers', async () => {
  await Promise.all(workers.map((worker) => worker.sigterm()));
  const [target] = await keyturn.credentials({ state: 'active' });
  const { _id: id } = target!;
  const expired = await until(
    async () => {
      const [doc] = await keyturn.credentials({ _id: id });
      return doc!.expiresAt!.getTime() < Date.now() ? doc : null;
    },
    { what: 'the token to expire' },
  );
  // Every refresh that is counted is to be this one's: jobs for the others wait in the queue still, and find them at rest.
  const credentials = keyturn.mongo.db(keyturn.env.KEYTURN_DATABASE).collection<{ _id: string }>('credentials');
  await credentials.updateMany({ _id: { $ne: id } }, { $set: { state: 'quarantined' } });
  await credentials.updateMany({}, { $set: { due: {}, claimed: {} } });
  await keyturn.startWorkers();
  const before = server.counts.refreshes;
  // Slow enough that all of them ask before the one refresh ends.
  server.setLatency(1_000);
  const answers = Promise.all(Array.from({ length: 50 }, () => keyturn.call('GET', `/v1/credentials/${id}/token`)));
  const bodies = (await answers).map(({ status, body }) => ({
    status,
    token: body.accessToken,
    generation: body.generation,
  }));
  expect(new Set(bodies.map(({ status }) => status))).toEqual(new Set([200]));
  expect(new Set(bodies.map(({ generation }) => generation))).toEqual(new Set([expired.generation + 1]));
  expect(await server.findToken(bodies[0]!.token as string)).toMatchObject({ kind: 'access', active: true });
  expect(server.counts.refreshes - before).toBe(1);
});

/** What the workers complained about, each kind once: to be read when this test fails. */
function warnings(): string[] {
  const lines = workers.flatMap(({ logs }) => logs).filter(({ level }) => level === 'warn' || level === 'error');
  return [...new Set(lines.map(({ msg, err }) => `${msg} ${JSON.stringify(err ?? '').slice(0, 300)}`))].slice(0, 20);
}

type Tally = { released: number; refused: Record<string, number>; bad: string[] };

/** Ten callers, each asking for one token after another, of a credential by chance. */
async function callAtRandom(ids: string[], forMs: number): Promise<Tally> {
  const tally: Tally = { released: 0, refused: {}, bad: [] };
  const endAt = performance.now() + forMs;
  const goOn = async () => {
    while (performance.now() < endAt) {
      const id = ids[Math.floor(Math.random() * ids.length)];
      judge(tally, await keyturn.call('GET', `/v1/credentials/${id}/token`));
      await pause(20 + Math.random() * 80);
    }
  };
  await Promise.all(Array.from({ length: 10 }, goOn));
  await Promise.all(checks.splice(0));
  return tally;
}

const checks: Promise<void>[] = [];

/** Expiry and the reply's `Date` are both whole seconds of the same clock: the token lived when it was sent. */
function judge(tally: Tally, { status, headers, body }: Answer): void {
  if (status !== 200) {
    const type = String(body.type);
    tally.refused[type] = (tally.refused[type] ?? 0) + 1;
    return;
  }
  tally.released += 1;
  const releasedAt = Date.parse(headers.get('date')!);
  checks.push(
    server.findToken(body.accessToken as string).then((belief) => {
      const lived = belief?.kind === 'access' && belief.expiresAt! > releasedAt;
      if (!lived)
        tally.bad.push(`${body.subject} generation ${body.generation}: ${JSON.stringify(belief)} at ${releasedAt}`);
    }),
  );
}

async function refreshers(): Promise<string[]> {
  const db = keyturn.mongo.db(keyturn.env.KEYTURN_DATABASE);
  const where = { type: 'credential.refreshed' };
  const names = await Promise.all(
    ['audit', 'audit_inbox'].map((name) => db.collection(name).distinct('actor.id', where)),
  );
  return [...new Set(names.flat() as string[])];
}
