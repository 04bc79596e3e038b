import { createHmac } from 'node:crypto';
import { compactDecrypt } from 'jose';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/shared/platform/random.ts';
import type { DataKeyDoc } from '../../src/shared/sealing/contract.ts';
import { sealJwe } from '../../src/shared/sealing/jwe.ts';
import { makeLocalKeyProvider } from '../../src/shared/sealing/key-providers/plugins/local.ts';
import { testDatabase } from '../../testkit/servers/for-tests.ts';
import { code, probedKeyProvider, testSealer } from './support.ts';

const database = testDatabase();
const dataKeys = database.db.collection<DataKeyDoc>('data_keys');
const context = { tenantId: 'ten_a', objectId: 'cred_1', generation: 1 };

describe('what is sealed opens in its own place only', () => {
  const sealer = testSealer(database);

  test('round trip, with the version of the data key', async () => {
    const sealed = await sealer.seal('s3cret', context);
    expect(sealed.keyVersion).toBe(1);
    expect(sealed.jwe).not.toContain('s3cret');
    expect(await sealer.open(sealed.jwe, context)).toBe('s3cret');
  });

  test.each([
    ['another tenant', { tenantId: 'ten_b' }],
    ['another object', { objectId: 'cred_2' }],
    ['an older generation', { generation: 2 }],
    ['a newer generation', { generation: 0 }],
  ])('not for %s', async (_, other) => {
    await sealer.seal('their own', { ...context, ...other });
    const { jwe } = await sealer.seal('s3cret', context);
    await expect(sealer.open(jwe, { ...context, ...other })).rejects.toEqual(code('secret_unreadable'));
  });

  test('nor when its header is changed to name the other place', async () => {
    const { jwe } = await sealer.seal('s3cret', context);
    const other = await sealer.seal('their own', { ...context, objectId: 'cred_2' });
    const moved = [other.jwe.split('.')[0], ...jwe.split('.').slice(1)].join('.');
    await expect(sealer.open(moved, { ...context, objectId: 'cred_2' })).rejects.toEqual(code('secret_unreadable'));
  });

  test('nor under a key id of another purpose or tenant', async () => {
    const { jwe } = await sealer.seal('s3cret', context);
    const [head, ...rest] = jwe.split('.');
    const header = JSON.parse(Buffer.from(head!, 'base64url').toString());
    for (const kid of ['ten_b:seal:1', 'ten_a:entry:1', 'ten_a:seal:01', 'ten_a:seal:1e0', 'ten_a:seal:NaN', '1', '']) {
      const altered = Buffer.from(JSON.stringify({ ...header, kid })).toString('base64url');
      await expect(sealer.open([altered, ...rest].join('.'), context)).rejects.toEqual(code('secret_unreadable'));
    }
  });

  test('nor under such a key id when its maker holds the data key', async () => {
    const { provider, state } = probedKeyProvider();
    const sealer = testSealer(database, { keyProvider: provider });
    const place = { ...context, tenantId: 'ten_kid' };
    await sealer.seal('s3cret', place);
    const forge = (kid: string) =>
      sealJwe('forged', state.unwrapped[0]!, { kid, tid: 'ten_kid', oid: place.objectId, gen: 1 }, systemRandom);
    expect(await sealer.open(forge('ten_kid:seal:1'), place)).toBe('forged');
    for (const kid of ['ten_kid:entry:1', 'ten_b:seal:1', 'ten_kid:seal:01', '1']) {
      await expect(sealer.open(forge(kid), place)).rejects.toEqual(code('secret_unreadable'));
    }
  });

  test('opening for a tenant without keys makes none', async () => {
    const { jwe } = await sealer.seal('s3cret', context);
    const nobody = { ...context, tenantId: 'ten_nobody' };
    await expect(sealer.open(jwe, nobody)).rejects.toEqual(code('secret_unreadable'));
    expect(await dataKeys.countDocuments({ tenantId: 'ten_nobody' })).toBe(0);
  });

  test('another JOSE library opens it with the data key in hand', async () => {
    const { provider, state } = probedKeyProvider();
    const { jwe } = await testSealer(database, { keyProvider: provider }).seal('s3cret', {
      ...context,
      tenantId: 'ten_j',
    });
    const opened = await compactDecrypt(jwe, state.unwrapped[0]!);
    expect(Buffer.from(opened.plaintext).toString()).toBe('s3cret');
  });
});

describe('fingerprints find a credential by a leaked string', () => {
  test('the same string gives the same fingerprint, in another process too, and never across tenants', async () => {
    const [one, two] = [testSealer(database), testSealer(database)];
    const print = await one.fingerprint('ten_f', 'tok');
    expect(print).toMatch(/^v1\.[A-Za-z0-9_-]{43}$/);
    expect(await two.fingerprint('ten_f', 'tok')).toBe(print);
    expect(await two.fingerprints('ten_f', 'tok')).toEqual([print]);
    expect(await two.fingerprint('ten_f', 'tok2')).not.toBe(print);
    expect(await two.fingerprint('ten_g', 'tok')).not.toBe(print);
  });

  test('it is HMAC-SHA-256 under a key that seals nothing', async () => {
    const { provider, state } = probedKeyProvider();
    const sealer = testSealer(database, { keyProvider: provider });
    const print = await sealer.fingerprint('ten_h', 'tok');
    const [key] = state.unwrapped;
    expect(print).toBe(`v1.${createHmac('sha256', key!).update('tok').digest('base64url')}`);
    const { jwe } = await sealer.seal('x', { ...context, tenantId: 'ten_h' });
    await expect(compactDecrypt(jwe, key!)).rejects.toThrow();
  });

  test('a tenant without a key yet is not remembered as one: the first key of another process is found at once', async () => {
    const [one, two] = [testSealer(database), testSealer(database)];
    expect(await one.fingerprints('ten_i', 'tok')).toEqual([]);
    const print = await two.fingerprint('ten_i', 'tok');
    expect(await one.fingerprints('ten_i', 'tok')).toEqual([print]);
  });

  test('a string is looked up under every version that still opens, the newest first', async () => {
    const old = await testSealer(database).fingerprint('ten_k', 'tok');
    await addVersion('ten_k', 'fingerprint', 2);
    const [newest, older, ...rest] = await testSealer(database).fingerprints('ten_k', 'tok');
    expect(newest).toMatch(/^v2\./);
    expect([older, ...rest]).toEqual([old]);
  });
});

describe('MACs of entries', () => {
  test('hold for the text and tenant that they were made for only', async () => {
    const sealer = testSealer(database);
    const mac = await sealer.mac('ten_m', 'entry');
    await sealer.mac('ten_n', 'entry');
    expect(await sealer.checkMac('ten_m', 'entry', mac)).toBe(true);
    expect(await sealer.checkMac('ten_m', 'entry!', mac)).toBe(false);
    expect(await sealer.checkMac('ten_n', 'entry', mac)).toBe(false);
    for (const wrong of ['', 'v1.', mac.slice(1), mac.slice(0, -1), `${mac}A`, mac.replace('v1.', 'v01.')]) {
      expect(await sealer.checkMac('ten_m', 'entry', wrong)).toBe(false);
    }
  });

  test('hold after the key was rotated', async () => {
    const mac = await testSealer(database).mac('ten_o', 'entry');
    await addVersion('ten_o', 'entry', 2);
    const sealer = testSealer(database);
    expect(await sealer.mac('ten_o', 'entry')).toMatch(/^v2\./);
    expect(await sealer.checkMac('ten_o', 'entry', mac)).toBe(true);
  });
});

async function addVersion(tenantId: string, purpose: DataKeyDoc['purpose'], version: number): Promise<void> {
  const wrapped = await makeLocalKeyProvider([Buffer.alloc(32, 1)]).wrap(Buffer.alloc(32, 9), {
    tenantId,
    purpose,
    version,
  });
  const doc = { tenantId, purpose, version, wrapped, state: 'active' as const, createdAt: new Date(0) };
  await dataKeys.updateMany({ tenantId, purpose }, { $set: { state: 'decrypt_only' } });
  await dataKeys.insertOne({ _id: `${tenantId}:${purpose}:${version}`, ...doc });
}
