import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeReleaser, type Releaser } from '../../../src/shared/credentials/release/token.ts';
import { makeMetrics } from '../../../src/shared/runtime/metrics.ts';
import type { PrincipalDoc } from '../../../src/shared/store/access/principals.ts';
import { atLength } from '../../../testkit/length.ts';
import { ROTATOR_SUBJECTS } from '../../../testkit/providers/rotator-subjects.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../../testkit/system.ts';
import { importSubject, requestRotation, rotationEntries, SERVICE } from './support.ts';

const ROTATIONS = atLength({ short: 5, long: 50 });
const CALLER = {
  principal: { _id: 'prn_app', tenantId: 'ten_a', permissions: ['acme:release'] } as unknown as PrincipalDoc,
  actor: { kind: 'principal' as const, id: 'prn_app' },
  stopping: new AbortController().signal,
};

const env = testEnvironment({ ...SERVICE, KEYTURN_SWEEP_SECONDS: '0.05' });
let system: TestSystem;
let releaser: Releaser;

beforeAll(async () => {
  system = await startSystem(env);
  releaser = makeReleaser(system.deps, makeMetrics());
  await system.startWorkers();
});

afterAll(async () => {
  await releaser.idle();
  await system.stop();
});

describe.concurrent.each(Object.keys(ROTATOR_SUBJECTS))('promise 5: %s', (name) => {
  test(`a client that uses what was last released sees no failure over ${ROTATIONS} rotations`, {
    timeout: 600_000,
  }, async () => {
    const subject = await ROTATOR_SUBJECTS[name]!();
    const { _id } = await importSubject(system, subject, { overlapSeconds: 1 });
    const seen = { uses: 0, failures: 0, generations: new Set<number>() };
    const done = new AbortController();
    const client = (async () => {
      while (!done.signal.aborted) {
        const { accessToken, metadata, generation } = await releaser.release(CALLER, _id);
        seen.uses += 1;
        seen.generations.add(generation);
        if (!(await subject.authenticates(accessToken, metadata))) seen.failures += 1;
      }
    })();
    const started = performance.now();
    for (let count = 0; count < ROTATIONS; count += 1) {
      const event = await system.settledEvent(await requestRotation(system, _id, { overlapSeconds: 1 }));
      expect(event).toMatchObject({ status: 'succeeded' });
      await system.credential({ _id }, ({ rotation }) => rotation === null);
    }
    const seconds = (performance.now() - started) / 1000;
    done.abort();
    await client;
    process.stdout.write(`${name}: ${ROTATIONS} rotations in ${seconds.toFixed(1)} s, ${seen.uses} uses\n`);
    expect(seen.failures).toBe(0);
    expect(seen.uses).toBeGreaterThan(ROTATIONS);
    expect(await system.credential({ _id })).toMatchObject({ generation: ROTATIONS + 1 });
    expect([...seen.generations].sort((a, b) => a - b)).toEqual(Array.from({ length: ROTATIONS + 1 }, (_, n) => n + 1));
    const entries = await rotationEntries(system, _id);
    expect(entries.filter((type) => type === 'credential.rotated')).toHaveLength(ROTATIONS);
    expect((await subject.goodSecrets()) ?? 1).toBe(1);
    await subject.stop();
  });
});
