import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { loadRotators } from '../../../src/shared/credentials/rotation/rotators/catalogue.ts';
import { atLength } from '../../../testkit/length.ts';
import { startFreezing } from '../../../testkit/processes/freezing.ts';
import { ROTATOR_SUBJECTS } from '../../../testkit/providers/rotator-subjects.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../../testkit/system.ts';
import { entriesOf, importSubject, released, requestRotation, rotationEntries, SERVICE, WELL } from './support.ts';

const env = testEnvironment({ ...SERVICE, KEYTURN_LEASE_SECONDS: '2' });

/**
 * Every place where a process can end: around each commit, and around the one call whose answer exists only once. They are
 * the same for all rotators that mint in one way, so one rotator of each way stands for them all.
 */
const COMMITS = WELL.flatMap((type) => [`before:${type}`, `after:${type}`]);
const POINTS = {
  home: atLength({ short: ['before:credential.rotated'], long: COMMITS }),
  provider: atLength({
    short: ['unanswered', 'answered', 'after:credential.rotation_applied'],
    long: [...COMMITS, 'sent', 'unanswered', 'answered'],
  }),
};

const rotators = [...(await loadRotators()).values()];
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
});

afterAll(() => system.stop());

describe.each(['home', 'provider'] as const)('promise 4: a rotation whose secret is minted by the %s', (mintedBy) => {
  const { name } = rotators.find((rotator) => rotator.mintedBy === mintedBy)!;

  test.each(POINTS[mintedBy])('and whose process is killed at %s is carried on by another', async (point) => {
    const own = await ROTATOR_SUBJECTS[name]!();
    onTestFinished(() => own.stop());
    const first = await system.startWorkers();
    const { _id } = await importSubject(system, own);
    await first.stop();
    const old = await released(system, _id);
    const worker = await startFreezing(env, point);
    const eventId = await requestRotation(system, _id);
    await worker.frozen();
    await worker.kill9();
    const between = await released(system, _id);
    expect(await own.authenticates(between.secret, between.metadata)).toBe(true);

    const second = await system.startWorkers();
    onTestFinished(() => second.stop().then(() => {}));
    expect(await system.settledEvent(eventId)).toMatchObject({ status: 'succeeded' });
    const doc = await system.credential({ _id }, ({ rotation }) => rotation === null);
    const next = await released(system, _id);
    expect(doc.generation).toBe(2);
    expect(await own.authenticates(next.secret, next.metadata)).toBe(true);
    expect(await own.authenticates(old.secret, old.metadata)).toBe(false);
    expect(await rotationEntries(system, _id)).toEqual(WELL);
    expect((await own.goodSecrets()) ?? 1).toBe(1);
    if (point === 'answered') {
      const minted = (await entriesOf(system, _id)).find(({ type }) => type === 'credential.rotation_minted');
      expect(minted).toMatchObject({ reason: 'recovered_from_journal' });
    }
  });
});
