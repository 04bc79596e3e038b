import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/shared/platform/random.ts';
import type { WrapContext, WrappedKey } from '../../src/shared/sealing/key-providers/contract.ts';
import { keyProviderNames } from '../../src/shared/sealing/key-providers/load.ts';
import { assertKeysAvailable } from '../../src/shared/sealing/root-keys.ts';
import { makeDataKeyStore } from '../../src/shared/store/keys/data-keys.ts';
import { testDatabase } from '../../testkit/servers/for-tests.ts';
import { code, testSealer } from '../sealing/support.ts';
import { SUBJECTS, type Subject } from './key-provider-subjects.ts';

const context: WrapContext = { tenantId: 'ten_a', purpose: 'seal', version: 1 };

test('every key provider that exists is held to this suite', async () => {
  expect([...new Set(SUBJECTS.map(({ name }) => name))].sort()).toEqual(await keyProviderNames());
});

describe.each(SUBJECTS)('key provider $name ($on)', ({ make }) => {
  const database = testDatabase();
  const plain = systemRandom.bytes(32);
  let subject: Subject;
  let wrapped: WrappedKey;
  beforeAll(async () => {
    subject = await make();
    wrapped = await subject.provider.wrap(plain, context);
  });
  afterAll(() => subject?.stop());

  test('unwraps what it wrapped, and names the root key', async () => {
    expect(await subject.provider.unwrap(wrapped, context)).toEqual(plain);
    expect(wrapped.keyId).toBe(await subject.provider.currentKeyId());
    await subject.provider.health();
  });

  test('leaves the plain key untouched, and does not show it in what it wrapped', async () => {
    const before = Buffer.from(plain);
    const { ciphertext } = await subject.provider.wrap(plain, context);
    expect(plain).toEqual(before);
    for (const form of ['hex', 'base64', 'base64url'] as const) expect(ciphertext).not.toContain(plain.toString(form));
  });

  test('wrapping twice gives two different texts', async () => {
    expect((await subject.provider.wrap(plain, context)).ciphertext).not.toBe(wrapped.ciphertext);
  });

  test.each<[string, Partial<WrapContext>]>([
    ['tenant', { tenantId: 'ten_b' }],
    ['purpose', { purpose: 'entry' }],
    ['version', { version: 2 }],
  ])('does not unwrap for another %s', async (_, other) => {
    await expect(subject.provider.unwrap(wrapped, { ...context, ...other })).rejects.toEqual(code('secret_unreadable'));
  });

  test('does not unwrap what was altered, cut or emptied', async () => {
    const { ciphertext } = wrapped;
    const flip = (at: number) =>
      `${ciphertext.slice(0, at)}${ciphertext[at] === 'A' ? 'B' : 'A'}${ciphertext.slice(at + 1)}`;
    const middle = Math.floor(ciphertext.length * 0.6);
    for (const altered of [
      flip(middle),
      flip(middle + 4),
      flip(ciphertext.length - 8),
      ciphertext.slice(0, middle),
      '',
    ]) {
      const unwrapping = subject.provider.unwrap({ ...wrapped, ciphertext: altered }, context);
      await expect(unwrapping, altered).rejects.toEqual(code('secret_unreadable'));
    }
  });

  test('does not unwrap under a root key that is not there', async () => {
    const other = { ...wrapped, keyId: wrapped.keyId.replace(/.$/, 'x') };
    await expect(subject.provider.unwrap(other, context)).rejects.toEqual(code('secret_unreadable'));
  });

  test('wraps and unwraps many at once', async () => {
    const contexts = Array.from({ length: 40 }, (_, i): WrapContext => ({ ...context, tenantId: `ten_${i}` }));
    const all = await Promise.all(contexts.map((each) => subject.provider.wrap(plain, each)));
    const back = await Promise.all(all.map((each, i) => subject.provider.unwrap(each, contexts[i]!)));
    for (const each of back) expect(each).toEqual(plain);
  });

  test('cut off, it says so and never calls a secret unreadable', async () => {
    const { cutOff } = subject;
    if (!cutOff) return;
    const calls = [() => cutOff.health(), () => cutOff.unwrap(wrapped, context), () => cutOff.wrap(plain, context)];
    for (const call of calls) await expect(call()).rejects.toEqual(code('key_unavailable'));
  });

  test('carries a sealer: what is sealed opens in another process, before and after its root key is rotated', async () => {
    const at = { tenantId: `ten_${systemRandom.bytes(4).toString('hex')}`, objectId: 'cred_1', generation: 1 };
    const { jwe } = await testSealer(database, { keyProvider: subject.provider }).seal('s3cret', at);
    const before = await subject.provider.currentKeyId();
    const rotated = await subject.rotate();
    expect(await rotated.currentKeyId()).not.toBe(before);
    expect(await testSealer(database, { keyProvider: rotated }).open(jwe, at)).toBe('s3cret');
    expect((await rotated.wrap(plain, context)).keyId).toBe(await rotated.currentKeyId());
    await assertKeysAvailable({ dataKeys: makeDataKeyStore(database), keyProvider: rotated });
  });
});
