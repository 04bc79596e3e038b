import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Child, startChild } from '../../../local/children.ts';
import { ROTATOR_SUBJECTS } from '../../../testkit/rotator-subjects.ts';
import { until } from '../../../testkit/signals.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../../testkit/system.ts';
import { entriesOf, importSubject, released, requestRotation, rotationEntries, SERVICE, WELL } from './support.ts';

const env = testEnvironment({ ...SERVICE, KEYTURN_LEASE_SECONDS: '2' });
const PROGRAM = fileURLToPath(new URL('./stopping-worker.ts', import.meta.url));

/** Every place where a process can end: around each commit, and around the one call whose answer exists only once. */
const POINTS = WELL.flatMap((type) => [`before:${type}`, `after:${type}`]);
const CALL_POINTS = ['sent', 'unanswered', 'answered'];

let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
});

afterAll(() => system.stop());

/** A worker that is about to freeze at `point`, with nothing to do yet. */
async function startFreezing(point: string): Promise<{ child: Child; lines: string[] }> {
  const child = await startChild(process.execPath, [PROGRAM, point], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  createInterface({ input: child.process.stdout! }).on('line', (line) => lines.push(line));
  onTestFinished(() => child.stop('SIGKILL'));
  await until(() => lines.includes('running'), { what: 'the worker to run', timeoutMs: 20_000 });
  return { child, lines };
}

describe.each(Object.keys(ROTATOR_SUBJECTS))('promise 4: a rotation by %s', (name) => {
  const points = name === 'oauth-client-secret' ? [...POINTS, ...CALL_POINTS] : POINTS;

  test.each(points)('whose process is killed at %s is carried on by another', { timeout: 90_000 }, async (point) => {
    const own = await ROTATOR_SUBJECTS[name]!();
    onTestFinished(() => own.stop());
    const first = await system.startWorkers();
    const { _id } = await importSubject(system, own);
    await first.stop();
    const old = await released(system, _id);
    const { child, lines } = await startFreezing(point);
    const eventId = await requestRotation(system, _id);
    await until(() => lines.includes('frozen'), { what: `the worker to freeze at ${point}`, timeoutMs: 20_000 });
    await child.stop('SIGKILL');
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
