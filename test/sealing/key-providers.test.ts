import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/shared/platform/clock.ts';
import type { Config } from '../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { DataKeyDoc } from '../../src/shared/sealing/contract.ts';
import { keyProviderNames, loadKeyProvider } from '../../src/shared/sealing/key-providers/load.ts';
import { makeLocalKeyProvider, rootKeyId } from '../../src/shared/sealing/key-providers/plugins/local.ts';
import { assertKeysAvailable } from '../../src/shared/sealing/root-keys.ts';
import { makeDataKeyStore } from '../../src/shared/store/keys/data-keys.ts';
import { testDatabase } from '../../testkit/servers/for-tests.ts';
import { code, probedKeyProvider, testSealer } from './support.ts';

const [a, b, c] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte)) as [Buffer, Buffer, Buffer];
const context = { tenantId: 'ten_a', purpose: 'seal' as const, version: 1 };
const deps = { clock: systemClock, random: systemRandom };

const configOf = (fields: Partial<Config>) => fields as Config;
const loadLocal = (keys: string, staged = '') =>
  loadKeyProvider(
    configOf({
      keyProvider: 'local',
      rootKeys: new Secret(keys),
      stagedRootKeys: new Secret(staged),
    }),
    deps,
  );

describe('key providers are found by their files', () => {
  test('the local one is there, and helpers are not taken for plug-ins', async () => {
    const names = await keyProviderNames();
    expect(names).toContain('local');
    for (const name of names) {
      const { plugin } = await import(`../../src/shared/sealing/key-providers/plugins/${name}.ts`);
      expect(plugin.name).toBe(name);
    }
  });

  test.each(['nosuch', '../vault', 'local.ts', ''])(
    'the name %j is refused with the names that exist',
    async (name) => {
      const config = { ...configOf({}), keyProvider: name };
      await expect(loadKeyProvider(config, deps)).rejects.toThrow(/choose one of: .*local/);
    },
  );
});

describe('local root keys', () => {
  test('the first wraps, all unwrap, staged ones only unwrap', async () => {
    const old = await makeLocalKeyProvider([a]).wrap(c, context);
    const rotated = await loadLocal(`${b.toString('base64')}\n${a.toString('hex')}`, c.toString('base64url'));
    expect(await rotated.currentKeyId()).toBe(rootKeyId(b));
    expect(await rotated.unwrap(old, context)).toEqual(c);
    const staged = await makeLocalKeyProvider([c]).wrap(a, context);
    expect(await rotated.unwrap(staged, context)).toEqual(a);
    expect((await rotated.wrap(c, context)).keyId).toBe(rootKeyId(b));
  });

  test('the id of a key is stable and tells nothing of it', () => {
    expect(rootKeyId(a)).toBe(rootKeyId(Buffer.from(a)));
    expect(rootKeyId(a)).toMatch(/^local-[0-9a-f]{16}$/);
    expect(rootKeyId(a)).not.toBe(rootKeyId(b));
  });

  test.each([
    ['none', '', /there is none/],
    ['a short one', `${a.toString('base64')},${Buffer.alloc(16).toString('base64')}`, /number 2 is not one/],
    ['a long one', Buffer.alloc(33).toString('base64'), /number 1 is not one/],
    ['no base64', '!'.repeat(44), /number 1 is not one/],
    ['the same twice', `${a.toString('base64')} ${a.toString('hex')}`, /twice/],
  ])('%s is refused with what to do', async (_, keys, message) => {
    const loading = loadLocal(keys);
    await expect(loading).rejects.toEqual(code('config_invalid'));
    await expect(loading).rejects.toThrow(message);
    await expect(loading).rejects.toThrow('openssl rand -base64 32');
  });

  test('the refusal does not show the key', async () => {
    const error = await loadLocal(`${a.toString('base64')}x`).catch((caught) => caught);
    expect(JSON.stringify([error.message, error.internal, error.stack])).not.toContain(a.toString('base64'));
  });
});

describe('at start-up', () => {
  const database = testDatabase();
  const dataKeys = database.db.collection<DataKeyDoc>('data_keys');
  const at = (tenantId: string) => ({ tenantId, objectId: 'cred_1', generation: 1 });

  test('every root key that is in use must be there; a missing one is named, with what to do', async () => {
    await testSealer(database, { keyProvider: makeLocalKeyProvider([a]) }).seal('x', at('ten_a'));
    await testSealer(database, { keyProvider: makeLocalKeyProvider([b]) }).seal('x', at('ten_b'));
    await assertKeysAvailable({ dataKeys: makeDataKeyStore(database), keyProvider: makeLocalKeyProvider([b, a]) });
    const starting = assertKeysAvailable({
      dataKeys: makeDataKeyStore(database),
      keyProvider: makeLocalKeyProvider([b]),
    });
    await expect(starting).rejects.toEqual(code('config_invalid'));
    await expect(starting).rejects.toThrow(rootKeyId(a));
    await expect(starting).rejects.toThrow(/Configure the root key/);
  });

  test('a root key that wraps only retired or destroyed data keys may go', async () => {
    await dataKeys.updateOne({ tenantId: 'ten_a' }, { $set: { state: 'destroyed', wrapped: null } });
    await assertKeysAvailable({ dataKeys: makeDataKeyStore(database), keyProvider: makeLocalKeyProvider([b]) });
  });

  test('an outage is an outage, not a wrong configuration', async () => {
    const { provider, state } = probedKeyProvider(makeLocalKeyProvider([b]));
    state.mode = 'down';
    await expect(assertKeysAvailable({ dataKeys: makeDataKeyStore(database), keyProvider: provider })).rejects.toEqual(
      code('key_unavailable'),
    );
  });
});
