import type { DataKeyPurpose, WrappedKey } from './key-providers/contract.ts';
import type { SealContext, SealedValue } from './secret-stores/contract.ts';

/** Collection `data_keys`. `_id` is `<tenantId>:<purpose>:<version>`; also the `kid` of the JWE, with the purpose. */
export type DataKeyDoc = {
  _id: string;
  tenantId: string;
  purpose: DataKeyPurpose;
  version: number;
  /** Absent once destroyed (crypto-shredding). */
  wrapped: WrappedKey | null;
  state: 'active' | 'decrypt_only' | 'retired' | 'destroyed';
  createdAt: Date;
};

/** Seals and opens values of tenants. Caches unwrapped data keys for a bounded time. */
export type Sealer = {
  /** A compact JWE (RFC 7516): `alg` A256KW, `enc` A256GCM, `kid`, `tid`, `oid`, `gen` in the protected header. */
  seal(plain: string, context: SealContext): Promise<SealedValue>;
  /** Throws `secret_unreadable` unless the header names exactly this context and the value is untouched. */
  open(jwe: string, context: SealContext): Promise<string>;
  /** HMAC-SHA-256 under the tenant's current fingerprint key: `v<version>.<base64url>`. */
  fingerprint(tenantId: string, value: string): Promise<string>;
  /** The fingerprints of a value under every usable version of a tenant's key: to look a leaked string up. */
  fingerprints(tenantId: string, value: string): Promise<string[]>;
  /** HMAC-SHA-256 under the tenant's current entry key: `v<version>.<base64url>`, opaque to everyone else. */
  mac(tenantId: string, text: string): Promise<string>;
  /** Whether `mac` is the entry MAC of `text`, under the version that it names. Constant time; false when malformed. Throws as `open`. */
  checkMac(tenantId: string, text: string, mac: string): Promise<boolean>;
};

/** The questions that sealing asks the collection `data_keys`; `store/keys/data-keys.ts` answers. All throw `store_unavailable`. */
export type DataKeyStore = {
  /** All versions of a tenant's keys for a purpose, newest first, whatever their state. */
  versions(tenantId: string, purpose: DataKeyPurpose): Promise<DataKeyDoc[]>;
  /** Makes it, unless one of that id is there. Of two processes at once one wins; both then read the same. */
  insertUnlessThere(doc: DataKeyDoc): Promise<void>;
  /** One usable key for each root key that wraps any. */
  oneOfEachRootKey(): Promise<DataKeyDoc[]>;
};
