import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import { rootKeyId } from '../../src/shared/sealing/key-providers/plugins/local.ts';
import { ROOT_KEY, startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { code } from '../sealing/support.ts';
import { openAll, rotate, rotationOf, SOON, seedEveryKind } from './support.ts';

const env = testEnvironment(SOON);
const next = randomBytes(32).toString('base64');
const nextId = rootKeyId(Buffer.from(next, 'base64'));
const oldId = rootKeyId(Buffer.from(ROOT_KEY, 'base64'));
const running: TestSystem[] = [];

/** A process with these root keys, the first of which wraps. */
async function start(keys: string[], staged: string[] = []): Promise<TestSystem> {
  const system = await startSystem({
    ...env,
    KEYTURN_ROOT_KEYS: keys.join(','),
    KEYTURN_ROOT_KEYS_STAGED: staged.join(','),
  });
  running.push(system);
  return system;
}

async function stop(system: TestSystem): Promise<void> {
  running.splice(running.indexOf(system), 1);
  await system.stop();
}

afterEach(async () => {
  for (const system of [...running]) await stop(system);
});

const wrappedBy = async ({ deps }: TestSystem) =>
  new Set((await deps.database.collection('data_keys').find().toArray()).map(({ wrapped }) => wrapped!.keyId));

describe('a new root key', () => {
  test('is inert until every process has it: none that wraps with it starts, none that lacks it is left behind', async () => {
    const first = await start([ROOT_KEY]);
    await seedEveryKind(first.deps, 'ten_root');
    await expect(start([next, ROOT_KEY])).rejects.toEqual(code('config_invalid'));
    await expect(start([next, ROOT_KEY])).rejects.toThrow(/KEYTURN_ROOT_KEYS_STAGED of every process/);
    const second = await start([ROOT_KEY], [next]);
    await expect(start([next, ROOT_KEY])).rejects.toThrow(`process ${process.pid}`);
    await stop(first);
    await start([next, ROOT_KEY]);
    expect(await wrappedBy(second)).toEqual(new Set([oldId]));
  });

  test('takes the old one over by wrapping every data key anew, while secrets are read; then the old one may go', async () => {
    const old = await start([ROOT_KEY], [next]);
    const plains = (await openAll(old.deps, 'ten_root')).map(({ plain }) => plain);
    const system = await start([next, ROOT_KEY]);
    await system.startWorkers();
    const done = await rotationOf(system.deps, await rotate(system.deps, 'root', 'system', nextId));
    expect(done).toMatchObject({ left: 0, target: nextId, problem: null });
    expect(done.moved).toBe(done.total);
    expect(await wrappedBy(system)).toEqual(new Set([nextId]));
    expect((await openAll(old.deps, 'ten_root')).map(({ plain }) => plain)).toEqual(plains);
    await stop(old);
    await stop(system);
    const bare = await start([next]);
    expect((await openAll(bare.deps, 'ten_root')).map(({ plain }) => plain)).toEqual(plains);
  });

  test('that the workers do not wrap with is waited for, and said', async () => {
    const system = await start([next]);
    await system.startWorkers();
    const stranger = rootKeyId(randomBytes(32));
    const rotation = await rotate(system.deps, 'root', 'system', stranger);
    const stuck = await rotationOf(system.deps, rotation, ({ problem }) => problem !== null);
    expect(stuck.problem).toMatchObject({ code: 'config_invalid', detail: expect.stringContaining(stranger) });
    await expect(rotate(system.deps, 'root', 'system', nextId)).rejects.toEqual(code('conflict'));
  });
});
