import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startChild } from '../../local/children.ts';
import { ROTATOR_SUBJECTS } from '../../testkit/rotator-subjects.ts';
import { until } from '../../testkit/signals.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { importSubject, released, requestRotation, SERVICE } from '../credentials/rotation/support.ts';

const env = testEnvironment({ ...SERVICE, KEYTURN_LEASE_SECONDS: '2', KEYTURN_SECRET_STORE: 'file' });
const PROGRAM = fileURLToPath(new URL('../credentials/rotation/stopping-worker.ts', import.meta.url));
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
});
afterAll(() => system.stop());

/** Both secrets are made here, so that the next worker puts another value of the same generation. */
test.each(['credential.rotation_minted', 'credential.rotated'])(
  'promise 4: a worker killed between the store and the commit of %s leaves nothing in the way of the next',
  { timeout: 60_000 },
  async (entry) => {
    const own = await ROTATOR_SUBJECTS['redis-acl']!();
    onTestFinished(() => own.stop());
    const first = await system.startWorkers();
    const { _id } = await importSubject(system, own);
    await first.stop();
    const child = await startChild(process.execPath, [PROGRAM, `before:${entry}`], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines: string[] = [];
    createInterface({ input: child.process.stdout! }).on('line', (line) => lines.push(line));
    await until(() => lines.includes('running'), { what: 'the worker to run', timeoutMs: 20_000 });
    const eventId = await requestRotation(system, _id);
    await until(() => lines.includes('frozen'), { what: 'the worker to freeze', timeoutMs: 20_000 });
    await child.stop('SIGKILL');

    const second = await system.startWorkers();
    onTestFinished(() => second.stop().then(() => {}));
    expect(await system.settledEvent(eventId)).toMatchObject({ status: 'succeeded' });
    await system.credential({ _id }, ({ rotation }) => rotation === null);
    const { secret, metadata } = await released(system, _id);
    expect(await own.authenticates(secret, metadata)).toBe(true);
  },
);
