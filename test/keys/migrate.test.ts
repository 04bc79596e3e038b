import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { contextOf, openMaterial } from '../../src/shared/keys/material.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { startVaultStandIn, type VaultStandIn } from '../sealing/vault/stand-in.ts';
import { openAll, rotate, rotationOf, SOON, seed } from './support.ts';

const COUNT = 400;
const env = testEnvironment(SOON);
let vault: VaultStandIn;

beforeAll(async () => {
  vault = await startVaultStandIn();
});
afterAll(() => vault.stop());

const start = (store: string, more: Record<string, string> = {}) =>
  startSystem({
    ...env,
    KEYTURN_VAULT_ADDR: vault.address,
    KEYTURN_VAULT_TOKEN: vault.token,
    KEYTURN_SECRET_STORE: store,
    ...more,
  });

const storesOf = async ({ deps }: TestSystem, tenantId: string) =>
  new Set((await openAll(deps, tenantId)).map(({ place }) => place.stored.store));

/** Opens one credential after another until told to stop; resolves to the failures. */
function startReader({ deps }: TestSystem, ids: string[]) {
  const state = { going: true, reads: 0, failures: [] as unknown[] };
  const credentials = deps.database.collection('credentials');
  const read = async () => {
    for (let number = 0; state.going; number += 1) {
      const _id = ids[(number * 7919) % ids.length]!;
      const doc = (await credentials.findOne({ _id }))!;
      await openMaterial(deps, doc).catch(async (error) => {
        const now = (await credentials.findOne({ _id }))!;
        if (now.secret!.store === doc.secret!.store) state.failures.push(error);
      });
      state.reads += 1;
    }
  };
  const running = read();
  return async () => {
    state.going = false;
    await running;
    return state;
  };
}

describe('moving secrets to another store', () => {
  test('goes from any to any other; readers of the old place follow, and the old place is empty after', async () => {
    let system = await start('mongodb');
    const ids = await seed(system.deps, 'ten_move', COUNT);
    await system.stop();
    for (const [from, to] of [
      ['mongodb', 'file'],
      ['file', 'vault'],
      ['vault', 'mongodb'],
    ] as const) {
      // Rolling: a process of the new setting beside the readers of the old one.
      const readers = await start(to);
      system = await start(to);
      await system.startWorkers();
      const before = await system.deps.database
        .collection('credentials')
        .find({ _id: { $in: ids } })
        .toArray();
      const stopReading = startReader(readers, ids);
      const rotation = await rotate(system.deps, 'store', 'ten_move', to);
      const done = await rotationOf(system.deps, rotation).finally(stopReading);
      const { reads, failures } = await stopReading();
      expect(failures).toEqual([]);
      expect(reads).toBeGreaterThan(0);
      expect(done).toMatchObject({ left: 0, moved: COUNT, total: COUNT });
      expect(await storesOf(system, 'ten_move')).toEqual(new Set([to]));
      const old = before.map((doc) => ({ context: contextOf(doc, doc.generation), stored: doc.secret! }));
      if (from !== 'mongodb') expect(new Set(await system.deps.secrets.get(old))).toEqual(new Set([null]));
      await system.stop();
      await readers.stop();
    }
  });

  test('does not end while a process puts new secrets elsewhere, and names it', async () => {
    const other = await start('mongodb');
    const system = await start('file');
    await system.startWorkers();
    await seed(system.deps, 'ten_rolling', 2);
    const rotation = await rotate(system.deps, 'store', 'ten_rolling', 'file');
    const waiting = await rotationOf(system.deps, rotation, ({ problem }) => problem !== null);
    expect(waiting.problem!.detail).toContain('KEYTURN_SECRET_STORE=file');
    expect(waiting.problem!.detail).toContain(`process ${process.pid}`);
    await other.stop();
    await rotationOf(system.deps, rotation);
    expect(await storesOf(system, 'ten_rolling')).toEqual(new Set(['file']));
    await system.stop();
  });

  test('a credential that a worker holds is moved when it is free; what is written meanwhile stays', async () => {
    const system = await start('file');
    await system.startWorkers();
    const inline = await start('mongodb');
    const [_id] = await seed(inline.deps, 'ten_busy', 1);
    await inline.stop();
    const credentials = system.deps.database.collection('credentials');
    const until_ = new Date(Date.now() + 60_000);
    await credentials.updateOne({ _id: _id! }, { $set: { lease: { holder: 'x', purpose: 'refresh', until: until_ } } });
    const rotation = await rotate(system.deps, 'store', 'ten_busy', 'file');
    await rotationOf(system.deps, rotation, ({ left }) => left === 1);
    expect(await credentials.findOne({ _id: _id! })).toMatchObject({ secret: { store: 'mongodb' } });
    await credentials.updateOne({ _id: _id! }, { $set: { lease: null } });
    await until(async () => (await storesOf(system, 'ten_busy')).has('file'), { what: 'the move' });
    await rotationOf(system.deps, rotation);
    await system.stop();
  });
});
