import { afterAll, beforeAll, expect, test } from 'vitest';
import { openMaterial, storeMaterial } from '../../src/shared/keys/material.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { takeLeases } from '../../src/shared/store/lease.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/processes/keyturn.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { openAll, rotate, rotationOf, SOON, seed, versionsOf } from './support.ts';

const COUNT = 3_000;
const TENANT = 'ten_many';
/** For one part of a rotation, on a busy machine too. */
const WAIT_MS = 90_000;

/** `store`: where the values lie. The child does the work; this process reads and writes all the while. */
const env = (store: string) =>
  testEnvironment({
    ...SOON,
    KEYTURN_SECRET_STORE: store,
    KEYTURN_RESEAL_PER_SECOND: '1000',
    KEYTURN_LEASE_SECONDS: '1',
    KEYTURN_QUEUES: 'reseal,sweep',
  });

const environments = { mongodb: env('mongodb'), file: env('file') };
const systems = new Map<string, TestSystem>();

beforeAll(async () => {
  for (const [store, environment] of Object.entries(environments)) systems.set(store, await startSystem(environment));
});
afterAll(async () => {
  for (const system of systems.values()) await system.stop();
});

test.each([
  ['mongodb', COUNT],
  ['file', COUNT / 5],
] as const)(
  'promises 3 and 4: a data key rotates over three kill -9; in %s nothing is unreadable at any moment, no write is lost',
  async (store, count) => {
    const { deps } = systems.get(store)!;
    const ids = await seed(deps, TENANT, count);
    const traffic = startTraffic(deps, ids);
    const done = await rotateOverKills(deps, environments[store], count).finally(traffic.stop);
    const { reads, writes, failures } = await traffic.stop();
    expect(failures).toEqual([]);
    expect(reads).toBeGreaterThan(count / 10);
    expect(writes.size).toBeGreaterThan(10);
    expect(done).toMatchObject({ left: 0, version: 2 });
    expect(await versionsOf(deps, TENANT, 'seal')).toEqual(['1 retired', '2 active']);
    const values = await openAll(deps, TENANT);
    expect(values).toHaveLength(count);
    for (const { place, plain } of values) {
      expect(place.stored.keyVersion).toBe(2);
      const wrote = writes.get(place.context.objectId);
      if (wrote) expect(plain).toBe(JSON.stringify({ accessToken: wrote }));
    }
  },
  5 * WAIT_MS,
);

/** Rotates the data key, while one worker after another is killed as the work goes on. */
async function rotateOverKills(deps: TestSystem['deps'], environment: Record<string, string>, count: number) {
  const rotation = await rotate(deps, 'data', TENANT);
  for (let kill = 1; kill <= 3; kill += 1) {
    const worker: KeyturnProcess = await startProcess('workers', environment);
    await rotationOf(deps, rotation, ({ moved }) => moved >= (kill * count) / 5, WAIT_MS);
    await worker.kill9();
  }
  const last = await startProcess('workers', environment);
  const done = await rotationOf(deps, rotation, undefined, WAIT_MS);
  await last.sigterm();
  return done;
}

/** Reads like the release of a token, and writes like a refresh: under a lease, by compare-and-set. */
function startTraffic(deps: TestSystem['deps'], ids: string[]) {
  const state = { going: true, reads: 0, writes: new Map<string, string>(), failures: [] as unknown[] };
  const credentials = deps.database.collection('credentials');

  const readOne = async (_id: string) => {
    for (let round = 1; ; round += 1) {
      const doc = (await credentials.findOne({ _id }))!;
      try {
        await openMaterial(deps, doc);
        state.reads += 1;
        return;
      } catch (error) {
        // A value beside MongoDB may have been replaced between the two reads, as the release knows too.
        const now = (await credentials.findOne({ _id }))!;
        if (now.secret?.ref === doc.secret?.ref || round === 3) throw error;
      }
    }
  };
  const writeOne = async (_id: string, number: number) => {
    const holder = `test/${number}`;
    const [doc] = await takeLeases(deps.database, 'credentials', {
      ids: [_id],
      holder,
      purpose: 'refresh',
      leaseMs: 10_000,
    });
    if (!doc) return;
    const token = `written ${number}`;
    const secret = await storeMaterial(deps, doc, doc.generation + 1, { accessToken: new Secret(token) });
    const { fence, generation } = doc;
    const { matchedCount } = await credentials.updateOne(
      { _id, fence, generation },
      { $set: { secret, generation: generation + 1, lease: null, interrupted: null } },
    );
    if (matchedCount !== 1) throw new Error('a write under a lease was refused');
    state.writes.set(_id, token);
  };
  const loop = async (work: (id: string, number: number) => Promise<void>) => {
    for (let number = 0; state.going; number += 1) {
      const id = ids[(number * 7919) % ids.length]!;
      await work(id, number).catch((error) => state.failures.push(error));
    }
  };
  const loops = [loop(readOne), loop(readOne), loop(writeOne)];
  return {
    stop: async () => {
      state.going = false;
      await Promise.all(loops);
      return state;
    },
  };
}
