import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startFreezing } from '../../testkit/processes/freezing.ts';
import { ROTATOR_SUBJECTS } from '../../testkit/providers/rotator-subjects.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { importSubject, released, requestRotation, SERVICE } from '../credentials/rotation/support.ts';

const env = testEnvironment({ ...SERVICE, KEYTURN_LEASE_SECONDS: '2', KEYTURN_SECRET_STORE: 'file' });
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
});
afterAll(() => system.stop());

/** Both secrets are made here, so that the next worker puts another value of the same generation. */
test.each(['credential.rotation_minted', 'credential.rotated'])(
  'promise 4: a worker killed between the store and the commit of %s leaves nothing in the way of the next',
  async (entry) => {
    const own = await ROTATOR_SUBJECTS['redis-acl']!();
    onTestFinished(() => own.stop());
    const first = await system.startWorkers();
    const { _id } = await importSubject(system, own);
    await first.stop();
    const worker = await startFreezing(env, `before:${entry}`);
    const eventId = await requestRotation(system, _id);
    await worker.frozen();
    await worker.kill9();

    const second = await system.startWorkers();
    onTestFinished(() => second.stop().then(() => {}));
    expect(await system.settledEvent(eventId)).toMatchObject({ status: 'succeeded' });
    await system.credential({ _id }, ({ rotation }) => rotation === null);
    const { secret, metadata } = await released(system, _id);
    expect(await own.authenticates(secret, metadata)).toBe(true);
  },
);
