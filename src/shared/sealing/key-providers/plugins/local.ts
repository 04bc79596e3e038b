import { createHmac } from 'node:crypto';
import { CompactEncrypt, compactDecrypt } from 'jose';
import { z } from 'zod';
import { AppError } from '../../../platform/errors.ts';
import type { Secret } from '../../../platform/secret.ts';
import type { KeyProvider, KeyProviderPlugin, WrapContext } from '../contract.ts';

const KEY_BYTES = 32;

/** The protected header of a wrapped data key, which binds it. Written and read by this file only. */
const HEADER = z.strictObject({
  alg: z.literal('A256KW'),
  enc: z.literal('A256GCM'),
  kid: z.string(),
  tid: z.string(),
  pur: z.string(),
  ver: z.int().positive(),
});

/**
 * Root keys in this process's memory, from `KEYTURN_ROOT_KEYS`: the first wraps, all unwrap, `KEYTURN_ROOT_KEYS_STAGED`
 * too. A wrapped data key is a compact JWE (A256KW, A256GCM) by jose.
 */
export const plugin: KeyProviderPlugin = {
  name: 'local',
  create: (config) =>
    makeLocalKeyProvider(
      parseRootKeys('KEYTURN_ROOT_KEYS', config.rootKeys),
      parseRootKeys('KEYTURN_ROOT_KEYS_STAGED', config.stagedRootKeys),
    ),
};

/**
 * @param rootKeys 32 bytes each; the first wraps.
 * @param staged 32 bytes each; unwrap only. Throws `config_invalid`.
 */
export function makeLocalKeyProvider(rootKeys: readonly Buffer[], staged: readonly Buffer[] = []): KeyProvider {
  const [first] = rootKeys;
  if (!first) throw invalid('KEYTURN_ROOT_KEYS', 'there is none');
  const byId = new Map([...rootKeys, ...staged].map((key) => [rootKeyId(key), key]));
  if (byId.size !== rootKeys.length + staged.length) throw invalid('KEYTURN_ROOT_KEYS', 'the same key is there twice');
  const currentId = rootKeyId(first);

  return {
    name: 'local',
    currentKeyId: async () => currentId,
    heldKeyIds: () => [...byId.keys()],
    health: async () => {},

    async wrap(plain, context) {
      const header = { alg: 'A256KW', enc: 'A256GCM', ...headerOf(currentId, context) };
      return {
        keyId: currentId,
        ciphertext: await new CompactEncrypt(plain).setProtectedHeader(header).encrypt(first),
      };
    },

    async unwrap(wrapped, context) {
      const key = byId.get(wrapped.keyId);
      if (!key) throw new AppError('secret_unreadable', { internal: `root key ${wrapped.keyId} is not configured` });
      const { plaintext, protectedHeader } = await compactDecrypt(wrapped.ciphertext, key, {
        keyManagementAlgorithms: ['A256KW'],
        contentEncryptionAlgorithms: ['A256GCM'],
      }).catch((cause) => {
        throw new AppError('secret_unreadable', { cause, internal: 'a wrapped data key was altered' });
      });
      const bound = HEADER.safeParse(protectedHeader);
      if (!bound.success || !isBoundTo(bound.data, wrapped.keyId, context)) {
        plaintext.fill(0);
        throw new AppError('secret_unreadable', { internal: 'a wrapped data key belongs to another document' });
      }
      return Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
    },
  };
}

/** Reads keys from variable `name`. Throws `config_invalid`; the message counts keys and never shows one. */
export function parseRootKeys(name: string, keys: Secret | undefined): Buffer[] {
  const parts = (keys?.reveal() ?? '').split(/[\s,]+/).filter((part) => part !== '');
  return parts.map((part, index) => {
    const isHex = /^[0-9a-fA-F]{64}$/.test(part);
    const isBase64 = /^[A-Za-z0-9+/_-]+={0,2}$/.test(part);
    const key = Buffer.from(part, isHex ? 'hex' : 'base64');
    if (!(isHex || isBase64) || key.length !== KEY_BYTES) throw invalid(name, `number ${index + 1} is not one`);
    return key;
  });
}

/** Derived from the key by HMAC-SHA-256: names it without giving anything away. */
export function rootKeyId(key: Buffer): string {
  return `local-${createHmac('sha256', key).update('keyturn root key id').digest('hex').slice(0, 16)}`;
}

function headerOf(keyId: string, context: WrapContext) {
  return { kid: keyId, tid: context.tenantId, pur: context.purpose, ver: context.version };
}

function isBoundTo(header: z.infer<typeof HEADER>, keyId: string, context: WrapContext): boolean {
  const wanted = headerOf(keyId, context);
  return (
    header.kid === wanted.kid && header.tid === wanted.tid && header.pur === wanted.pur && header.ver === wanted.ver
  );
}

function invalid(name: string, problem: string): AppError {
  return new AppError('config_invalid', {
    detail:
      `${name} must hold keys of 32 bytes in base64 or hex, separated by commas or lines; ${problem}. ` +
      'Make one: openssl rand -base64 32',
  });
}
