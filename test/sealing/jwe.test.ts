import { createCipheriv, createDecipheriv } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { openJwe, parseJwe, sealJwe } from '../../src/shared/sealing/jwe.ts';
import { code } from './support.ts';

const key = systemRandom.bytes(32);
const bound = { kid: 'ten_a:seal:1', tid: 'ten_a', oid: 'cred_a', gen: 3 };
const header = { alg: 'A256KW', enc: 'A256GCM', ...bound };
const VALUES = ['', 'x', '{"accessToken":"ya29.é€😀"}', 'a'.repeat(16), 'b'.repeat(70_000)];

const seal = (plain: string) => sealJwe(plain, key, bound, systemRandom);
const open = (jwe: string, under = key) => openJwe(parseJwe(jwe), under);
const joseSeal = (plain: string, protectedHeader: object, under = key) =>
  new CompactEncrypt(Buffer.from(plain)).setProtectedHeader(protectedHeader as never).encrypt(under);

describe('a sealed value is a standard JWE (RFC 7516)', () => {
  test.each(VALUES.map((value) => [value.length, value]))(
    'jose opens what we sealed (%i characters)',
    async (_, value) => {
      const opened = await compactDecrypt(seal(value), key);
      expect(Buffer.from(opened.plaintext).toString()).toBe(value);
      expect(opened.protectedHeader).toEqual(header);
    },
  );

  test.each(VALUES.map((value) => [value.length, value]))(
    'we open what jose sealed (%i characters)',
    async (_, value) => {
      expect(open(await joseSeal(value, header))).toBe(value);
    },
  );

  test('our protected header is to the byte what jose writes for the same fields', async () => {
    const [ours] = seal('x').split('.');
    const [theirs] = (await joseSeal('x', header)).split('.');
    expect(ours).toBe(theirs);
    expect(decodeProtectedHeader(seal('x'))).toEqual(header);
  });

  test('sealing twice gives values that share no content key, IV or text', () => {
    const [first, second] = [seal('same'), seal('same')].map((jwe) => jwe.split('.'));
    for (const segment of [1, 2, 3, 4]) expect(first![segment]).not.toBe(second![segment]);
  });
});

describe('an altered value does not open', () => {
  const sealed = seal('a secret of some length');
  const segments = sealed.split('.');

  for (const [index, name] of ['header', 'wrapped key', 'IV', 'text', 'tag'].entries()) {
    test(`any flipped bit in the ${name}`, () => {
      const bytes = Buffer.from(segments[index]!, 'base64url');
      for (let bit = 0; bit < bytes.length * 8; bit += 1) {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        const altered = segments.with(index, flipped.toString('base64url')).join('.');
        expect(() => open(altered), `bit ${bit}`).toThrow(code('secret_unreadable'));
      }
    });

    test(`a shortened, emptied or lengthened ${name}`, () => {
      const segment = segments[index]!;
      for (const other of ['', segment.slice(0, -4), `${segment}AAAA`, `${segment}=`, ` ${segment}`]) {
        expect(() => open(segments.with(index, other).join('.'))).toThrow(code('secret_unreadable'));
      }
    });
  }

  test('a header taken from another value', () => {
    const other = sealJwe('x', key, { ...bound, gen: 4 }, systemRandom).split('.')[0]!;
    expect(() => open(segments.with(0, other).join('.'))).toThrow(code('secret_unreadable'));
  });

  test('another data key', () => {
    expect(() => open(sealed, systemRandom.bytes(32))).toThrow(code('secret_unreadable'));
  });

  test('a data key that was evicted and emptied, for opening and for sealing', () => {
    expect(() => open(sealed, Buffer.alloc(0))).toThrow(code('secret_unreadable'));
    expect(() => sealJwe('x', Buffer.alloc(0), bound, systemRandom)).toThrow('Invalid key length');
  });

  test('a spelling of base64url that is not the canonical one', () => {
    const tag = segments[4]!;
    const last = tag.at(-1)!;
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const respelled = tag.slice(0, -1) + alphabet[alphabet.indexOf(last) + 1];
    expect(Buffer.from(respelled, 'base64url')).toEqual(Buffer.from(tag, 'base64url'));
    expect(() => open(segments.with(4, respelled).join('.'))).toThrow(code('secret_unreadable'));
  });
});

describe('only our own header is accepted, even when its maker holds the data key', () => {
  const cases: [string, object][] = [
    ['compressed (zip)', { ...header, zip: 'DEF' }],
    ['a further field', { ...header, jku: 'https://attacker.example' }],
    ['another enc', { ...header, enc: 'A128CBC-HS256' }],
    ['no generation', { ...header, gen: undefined }],
    ['a negative generation', { ...header, gen: -1 }],
    ['a generation that is a string', { ...header, gen: '3' }],
    ['no tenant', { ...header, tid: undefined }],
    ['a fractional generation', { ...header, gen: 1.5 }],
  ];
  test.each(cases)('%s', async (_, other) => {
    const jwe = await joseSeal('x', other);
    expect(() => parseJwe(jwe)).toThrow(code('secret_unreadable'));
  });

  test.each(['A256GCMKW', 'dir'])('alg %s', async (alg) => {
    const jwe = await joseSeal('x', { ...header, alg });
    expect(() => parseJwe(jwe)).toThrow(code('secret_unreadable'));
  });

  test('an IV of another length than 96 bits (RFC 7518 §5.3)', () => {
    const [protectedPart, wrappedKey] = seal('x').split('.') as [string, string];
    const unwrapper = createDecipheriv('id-aes256-wrap', key, Buffer.alloc(8, 0xa6));
    const contentKey = Buffer.concat([unwrapper.update(wrappedKey, 'base64url'), unwrapper.final()]);
    const withIv = (iv: Buffer) => {
      const cipher = createCipheriv('aes-256-gcm', contentKey, iv).setAAD(Buffer.from(protectedPart));
      const text = Buffer.concat([cipher.update('x'), cipher.final()]);
      const parts = [iv, text, cipher.getAuthTag()].map((part) => part.toString('base64url'));
      return [protectedPart, wrappedKey, ...parts].join('.');
    };
    expect(open(withIv(Buffer.alloc(12, 7)))).toBe('x');
    expect(() => open(withIv(Buffer.alloc(16, 7)))).toThrow(code('secret_unreadable'));
  });

  test.each(['', '.', '....', 'a.b.c.d', 'a.b.c.d.e.f', `${Buffer.from('[]').toString('base64url')}.a.b.c.d`])(
    'no JWE at all: %j',
    (text) => {
      expect(() => parseJwe(text)).toThrow(code('secret_unreadable'));
    },
  );
});
