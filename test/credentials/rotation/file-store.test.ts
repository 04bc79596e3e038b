import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ROTATOR_SUBJECTS } from '../../../testkit/providers/rotator-subjects.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import { importSubject, released, requestRotation, SERVICE } from './support.ts';

const env = testEnvironment({ ...SERVICE, KEYTURN_SECRET_STORE: 'file' });
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
  await system.startWorkers();
});

afterAll(() => system.stop());

/** Files in the secret store, whatever its folders. */
function stored(): number {
  const all = readdirSync(env.KEYTURN_SECRET_DIR as string, { recursive: true, withFileTypes: true });
  return all.filter((entry) => entry.isFile()).length;
}

test.each(Object.keys(ROTATOR_SUBJECTS))(
  '%s: what a rotation is over with does not stay in a store beside MongoDB',
  async (name) => {
    const subject = await ROTATOR_SUBJECTS[name]!();
    const { _id } = await importSubject(system, subject);
    const before = stored();
    for (const generation of [2, 3]) {
      const event = await system.settledEvent(await requestRotation(system, _id, { overlapSeconds: 0 }));
      expect(event).toMatchObject({ status: 'succeeded' });
      const doc = await system.credential({ _id }, ({ rotation }) => rotation === null);
      expect(doc).toMatchObject({ generation });
      expect(doc.secret?.jwe).toBeUndefined();
    }
    await until(() => stored() === before, { what: 'the old secrets to be deleted' });
    const { secret, metadata } = await released(system, _id);
    expect(await subject.authenticates(secret, metadata)).toBe(true);
    await subject.stop();
  },
);
