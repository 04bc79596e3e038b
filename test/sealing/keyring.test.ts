import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { DataKeyDoc } from '../../src/shared/sealing/contract.ts';
import { makeLocalKeyProvider } from '../../src/shared/sealing/key-providers/plugins/local.ts';
import { makeDataKeyStore } from '../../src/shared/store/keys/data-keys.ts';
import { testDatabase } from '../../testkit/servers/for-tests.ts';
import { code, handClock, probedKeyProvider, testSealer } from './support.ts';

const database = testDatabase();
const dataKeys = database.db.collection<DataKeyDoc>('data_keys');
const at = (tenantId: string) => ({ tenantId, objectId: 'cred_1', generation: 1 });
const TIMES = { maxAgeMs: 300_000, graceMs: 3_600_000, refreshMs: 30_000, retryMs: 5_000 };

/** One process with a clock and a key provider of its own; the wrapping root key is shared. */
function processOf(options: object = {}) {
  const clock = handClock();
  const { provider, state } = probedKeyProvider(makeLocalKeyProvider([Buffer.alloc(32, 1)]));
  return { sealer: testSealer(database, { ...TIMES, clock, keyProvider: provider, ...options }), clock, keys: state };
}

describe('the first key', () => {
  test('is made once, however many ask at once', async () => {
    const { sealer, keys } = processOf();
    const sealed = await Promise.all(Array.from({ length: 50 }, () => sealer.seal('x', at('ten_first'))));
    expect(keys).toMatchObject({ wraps: 1, unwraps: 1 });
    expect(await Promise.all(sealed.map(({ jwe }) => sealer.open(jwe, at('ten_first'))))).toEqual(Array(50).fill('x'));
  });

  test('is one key when eight processes make it at the same time', async () => {
    const processes = Array.from({ length: 8 }, () => processOf());
    const sealed = await Promise.all(processes.map(({ sealer }) => sealer.seal('x', at('ten_race'))));
    expect(await dataKeys.countDocuments({ tenantId: 'ten_race' })).toBe(1);
    for (const { sealer } of processes) {
      for (const { jwe } of sealed) expect(await sealer.open(jwe, at('ten_race'))).toBe('x');
    }
  });

  test('is not made while the key provider is down, and is made after', async () => {
    const { sealer, keys } = processOf();
    keys.mode = 'down';
    await expect(sealer.seal('x', at('ten_down'))).rejects.toEqual(code('key_unavailable'));
    expect(await dataKeys.countDocuments({ tenantId: 'ten_down' })).toBe(0);
    keys.mode = 'well';
    await sealer.seal('x', at('ten_down'));
  });

  test('must unwrap before anything is sealed under it', async () => {
    const { provider } = probedKeyProvider();
    const oneWay = { ...provider, unwrap: makeLocalKeyProvider([Buffer.alloc(32, 5)]).unwrap };
    const { sealer } = processOf({ keyProvider: oneWay });
    await expect(sealer.seal('x', at('ten_oneway'))).rejects.toEqual(code('secret_unreadable'));
  });

  test('lies in MongoDB wrapped only', async () => {
    const { sealer, keys } = processOf();
    await sealer.seal('x', at('ten_wrapped'));
    const text = JSON.stringify(await dataKeys.findOne({ tenantId: 'ten_wrapped' }));
    for (const form of ['hex', 'base64', 'base64url'] as const)
      expect(text).not.toContain(keys.unwrapped[0]!.toString(form));
  });
});

describe('the cache', () => {
  test('asks the key provider once per lifetime', async () => {
    const { sealer, clock, keys } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_life'));
    for (let i = 0; i < 9; i += 1) {
      clock.advance(30_000);
      await sealer.open(jwe, at('ten_life'));
    }
    expect(keys.unwraps).toBe(1);
    clock.advance(30_000);
    await Promise.all(Array.from({ length: 20 }, () => sealer.open(jwe, at('ten_life'))));
    expect(keys.unwraps).toBe(2);
  });

  test('is bounded: the least recently used tenant goes, and its key is zeroed', async () => {
    const { sealer, keys } = processOf({ maxEntries: 2 });
    await sealer.seal('x', at('ten_1'));
    await sealer.seal('x', at('ten_2'));
    await sealer.seal('x', at('ten_1'));
    await sealer.seal('x', at('ten_3'));
    await turn();
    const zeroed = keys.unwrapped.map((bytes) => bytes.every((byte) => byte === 0));
    expect(zeroed).toEqual([false, true, false]);
    await sealer.seal('x', at('ten_2'));
    expect(keys.unwraps).toBe(4);
  });

  test('never hands out a key that is already zeroed, even when it holds one entry and many tenants work at once', async () => {
    const { sealer } = processOf({ maxEntries: 1 });
    const tenants = Array.from({ length: 30 }, (_, i) => at(`ten_crowd_${i % 10}`));
    const sealed = await Promise.all(tenants.map((each) => sealer.seal(each.tenantId, each)));
    const opened = await Promise.all(sealed.map(({ jwe }, i) => sealer.open(jwe, tenants[i]!)));
    expect(opened).toEqual(tenants.map((each) => each.tenantId));
  });

  test('zeroes what it replaces, what has expired, and everything on close', async () => {
    const { sealer, clock, keys } = processOf();
    await sealer.seal('x', at('ten_zero'));
    clock.advance(TIMES.maxAgeMs);
    await sealer.seal('x', at('ten_zero'));
    clock.advance(TIMES.maxAgeMs + TIMES.graceMs);
    sealer.evictExpired();
    await turn();
    await sealer.seal('x', at('ten_zero'));
    sealer.close();
    await turn();
    expect(keys.unwrapped).toHaveLength(3);
    for (const bytes of keys.unwrapped) expect(bytes.equals(Buffer.alloc(32))).toBe(true);
    await sealer.seal('x', at('ten_zero'));
  });
});

describe('while the key provider is away', () => {
  test('what is cached works on for the grace time, then there is a clear refusal, and it recovers', async () => {
    const { sealer, clock, keys } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_grace'));
    keys.mode = 'down';
    clock.advance(TIMES.maxAgeMs + TIMES.graceMs - 1);
    expect(await sealer.open(jwe, at('ten_grace'))).toBe('x');
    await sealer.seal('y', at('ten_grace'));
    clock.advance(1);
    await expect(sealer.open(jwe, at('ten_grace'))).rejects.toEqual(code('key_unavailable'));
    await expect(sealer.seal('y', at('ten_grace'))).rejects.toEqual(code('key_unavailable'));
    await turn();
    expect(keys.unwrapped[0]!.equals(Buffer.alloc(32))).toBe(true);
    keys.mode = 'well';
    expect(await sealer.open(jwe, at('ten_grace'))).toBe('x');
  });

  test('it is asked again once per pause, not by every caller', async () => {
    const { sealer, clock, keys } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_pause'));
    keys.mode = 'down';
    clock.advance(TIMES.maxAgeMs);
    for (let i = 0; i < 20; i += 1) await sealer.open(jwe, at('ten_pause'));
    expect(keys.unwraps).toBe(2);
    clock.advance(TIMES.retryMs);
    for (let i = 0; i < 20; i += 1) await sealer.open(jwe, at('ten_pause'));
    expect(keys.unwraps).toBe(3);
  });

  test('hanging, it holds nobody up who has a cached key', async () => {
    const { sealer, clock, keys } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_hang'));
    keys.mode = 'hanging';
    clock.advance(TIMES.maxAgeMs);
    for (let i = 0; i < 20; i += 1) expect(await sealer.open(jwe, at('ten_hang'))).toBe('x');
  });

  test('but a key that was taken away is refused at once, without grace, and zeroed', async () => {
    const { sealer, clock, keys } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_taken'));
    keys.mode = 'refusing';
    clock.advance(TIMES.maxAgeMs);
    await expect(sealer.open(jwe, at('ten_taken'))).rejects.toEqual(code('secret_unreadable'));
    await turn();
    expect(keys.unwrapped[0]!.equals(Buffer.alloc(32))).toBe(true);
  });
});

describe('what another process does with the keys', () => {
  test('a new version opens at once and is sealed with within the refresh time', async () => {
    const [here, there] = [processOf(), processOf()];
    await here.sealer.seal('x', at('ten_new'));
    await addVersion('ten_new', 2);
    const sealed = await there.sealer.seal('y', at('ten_new'));
    expect(sealed.keyVersion).toBe(2);
    expect(await here.sealer.open(sealed.jwe, at('ten_new'))).toBe('y');
    here.clock.advance(TIMES.refreshMs);
    expect((await here.sealer.seal('z', at('ten_new'))).keyVersion).toBe(2);
  });

  test('an old version opens until it is retired', async () => {
    const { sealer, clock } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_old'));
    await addVersion('ten_old', 2);
    clock.advance(TIMES.refreshMs);
    expect(await sealer.open(jwe, at('ten_old'))).toBe('x');
    await dataKeys.updateOne({ _id: 'ten_old:seal:1' }, { $set: { state: 'retired' } });
    clock.advance(TIMES.refreshMs);
    await expect(sealer.open(jwe, at('ten_old'))).rejects.toEqual(code('secret_unreadable'));
  });

  test('destroyed keys stop opening and sealing within the refresh time, are zeroed, and are not made anew', async () => {
    const { sealer, clock, keys } = processOf();
    const { jwe } = await sealer.seal('x', at('ten_shred'));
    await dataKeys.updateMany({ tenantId: 'ten_shred' }, { $set: { state: 'destroyed', wrapped: null } });
    clock.advance(TIMES.refreshMs);
    await expect(sealer.open(jwe, at('ten_shred'))).rejects.toEqual(code('secret_unreadable'));
    await expect(sealer.seal('y', at('ten_shred'))).rejects.toEqual(code('secret_unreadable'));
    await turn();
    expect(keys.unwrapped[0]!.equals(Buffer.alloc(32))).toBe(true);
    expect(await dataKeys.countDocuments({ tenantId: 'ten_shred' })).toBe(1);
    expect(keys.wraps).toBe(1);
  });

  test('a wrapped key copied to another tenant does not unwrap there', async () => {
    const { sealer } = processOf();
    await sealer.seal('x', at('ten_from'));
    const { wrapped } = (await dataKeys.findOne({ tenantId: 'ten_from' }))!;
    await sealer.seal('x', at('ten_to'));
    await dataKeys.updateOne({ tenantId: 'ten_to' }, { $set: { wrapped } });
    await expect(processOf().sealer.seal('y', at('ten_to'))).rejects.toEqual(code('secret_unreadable'));
  });
});

describe('while MongoDB is away', () => {
  test('cached keys go on sealing, so that a provider reply can be kept; unknown tenants are told', async () => {
    let away = false;
    const flaky = new Proxy(database.db, {
      get(target, name) {
        if (away) throw new Error('connection refused');
        return Reflect.get(target, name).bind(target);
      },
    });
    const { sealer, clock } = processOf({ dataKeys: makeDataKeyStore({ db: flaky }) });
    await sealer.seal('x', at('ten_away'));
    away = true;
    clock.advance(TIMES.refreshMs);
    await sealer.seal('x', at('ten_away'));
    await expect(sealer.seal('x', at('ten_unknown'))).rejects.toEqual(code('store_unavailable'));
  });
});

async function addVersion(tenantId: string, version: number): Promise<void> {
  const bound = { tenantId, purpose: 'seal' as const, version };
  const wrapped = await makeLocalKeyProvider([Buffer.alloc(32, 1)]).wrap(Buffer.alloc(32, version), bound);
  await dataKeys.updateMany({ tenantId }, { $set: { state: 'decrypt_only' } });
  await dataKeys.insertOne({
    _id: `${tenantId}:seal:${version}`,
    ...bound,
    wrapped,
    state: 'active',
    createdAt: new Date(0),
  });
}
