import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError } from '../platform/errors.ts';
import type { Sealer } from './contract.ts';
import { dataKeyId } from './data-keys.ts';
import { type JweHeader, openJwe, parseJwe, sealJwe } from './jwe.ts';
import type { DataKey } from './key-cache.ts';
import type { DataKeyPurpose } from './key-providers/contract.ts';
import { type KeyringOptions, makeKeyring } from './keyring.ts';
import type { SealContext } from './secret-stores/contract.ts';

export type SealerOptions = Pick<KeyringOptions, 'dataKeys' | 'keyProvider' | 'clock' | 'random'> &
  Partial<Pick<KeyringOptions, 'maxAgeMs' | 'graceMs' | 'refreshMs' | 'retryMs' | 'maxEntries'>>;

/** A sealer, and the means to empty its cache. */
export type ManagedSealer = Sealer & {
  /** The version that `seal` uses now; undefined while it is not cached. */
  sealVersion(tenantId: string): number | undefined;
  /** Zeroes cached keys whose time has ended. Call it about once a minute. */
  evictExpired(): void;
  /** Zeroes all cached keys; the sealer goes on working and fetches them again. */
  close(): void;
};

const DEFAULTS = { maxAgeMs: 300_000, graceMs: 3_600_000, refreshMs: 30_000, retryMs: 5_000, maxEntries: 10_000 };

const MAC = /^v([1-9]\d{0,8})\.([A-Za-z0-9_-]{43})$/;

/** The sealer over `data_keys` and a key provider. With the key cached no call waits: some 20 µs for 2 kB. */
export function makeSealer(options: SealerOptions): ManagedSealer {
  const keyring = makeKeyring({ ...DEFAULTS, ...options });
  const { random } = options;

  async function hmac(tenantId: string, purpose: DataKeyPurpose, text: string, version?: number): Promise<string> {
    const key = keyring.peek(tenantId, purpose, version) ?? (await keyring.load(tenantId, purpose, version));
    return hmacWith(key, text);
  }

  return {
    async seal(plain, context) {
      const { tenantId } = context;
      const key = keyring.peek(tenantId, 'seal') ?? (await keyring.load(tenantId, 'seal'));
      const bound = { kid: key.id, tid: tenantId, oid: context.objectId, gen: context.generation };
      return { jwe: sealJwe(plain, key.bytes, bound, random), keyVersion: key.version };
    },

    async open(jwe, context) {
      const parsed = parseJwe(jwe);
      const version = versionFor(parsed.header, context);
      const { tenantId } = context;
      const key = keyring.peek(tenantId, 'seal', version) ?? (await keyring.load(tenantId, 'seal', version));
      return openJwe(parsed, key.bytes);
    },

    fingerprint: (tenantId, value) => hmac(tenantId, 'fingerprint', value),

    async fingerprints(tenantId, value) {
      const found: string[] = [];
      for (const version of await keyring.versions(tenantId, 'fingerprint')) {
        found.push(await hmac(tenantId, 'fingerprint', value, version));
      }
      return found;
    },

    mac: (tenantId, text) => hmac(tenantId, 'entry', text),

    async checkMac(tenantId, text, mac) {
      const version = MAC.exec(mac)?.[1];
      if (version === undefined) return false;
      return sameText(mac, await hmac(tenantId, 'entry', text, Number(version)));
    },

    sealVersion: (tenantId) => keyring.peek(tenantId, 'seal')?.version,
    evictExpired: keyring.evictExpired,
    close: keyring.close,
  };
}

/** The version of the data key that the header names, when the header names exactly this context. */
function versionFor(header: JweHeader, context: SealContext): number {
  const bound = header.tid === context.tenantId && header.oid === context.objectId && header.gen === context.generation;
  const version = Number(header.kid.slice(header.kid.lastIndexOf(':') + 1));
  if (!bound || header.kid !== dataKeyId(context.tenantId, 'seal', version) || !Number.isSafeInteger(version)) {
    throw new AppError('secret_unreadable', { internal: 'JWE: sealed for another tenant, object or generation' });
  }
  return version;
}

function hmacWith(key: DataKey, text: string): string {
  return `v${key.version}.${createHmac('sha256', key.bytes).update(text).digest('base64url')}`;
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
