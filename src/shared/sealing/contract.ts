import type { Clock } from '../platform/clock.ts';
import type { Config } from '../platform/config/parse.ts';
import type { Random } from '../platform/random.ts';

/** Holds root keys and wraps data keys with them. One file in `key-providers/` each. */
export type KeyProvider = {
  readonly name: string;
  /** The id of the root key that `wrap` uses now. Shown in metadata and reports; not a secret. */
  currentKeyId(): Promise<string>;
  /** Wraps 32 bytes under the current root key, bound to `context` where the provider can. Throws `key_unavailable`. */
  wrap(plain: Buffer, context: WrapContext): Promise<WrappedKey>;
  /** Throws `key_unavailable` (try again) or `secret_unreadable` (the key is missing or the value was altered). */
  unwrap(wrapped: WrappedKey, context: WrapContext): Promise<Buffer>;
  /** Ids of the root keys that this process itself holds. Absent: the provider holds them, alike for every process. */
  heldKeyIds?(): string[];
  /** Throws `key_unavailable` with what to do. */
  health(): Promise<void>;
};

/** Authenticated with the wrapped key, so that a data key copied to another tenant does not unwrap. */
export type WrapContext = { tenantId: string; purpose: DataKeyPurpose; version: number };

export type WrappedKey = { keyId: string; ciphertext: string };

/** `seal`: secrets; `fingerprint`: HMAC of tokens; `entry`: HMAC of audit entries. A key of its own for each. */
export type DataKeyPurpose = 'seal' | 'fingerprint' | 'entry';

/** What a sealed value is bound to by its protected header. */
export type SealContext = { tenantId: string; objectId: string; generation: number };

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
export type Vault = {
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

export type CryptoDeps = { clock: Clock; random: Pick<Random, 'bytes'> };

/** What each file in `key-providers/` exports as `plugin`. `create` throws `config_invalid`; it does no I/O. */
export type KeyProviderPlugin = {
  /** File name without its ending. */
  readonly name: string;
  create(config: Config, deps: CryptoDeps): KeyProvider;
};

/** What each file in `store/secret-stores/` exports as `plugin`. `create` throws `config_invalid`; it does no I/O. */
export type SecretStorePlugin = {
  /** File name without its ending. */
  readonly name: string;
  create(config: Config, deps: CryptoDeps): SecretStore;
};

/** `keyVersion`: the data key's version, kept as metadata so that a rotation finds what is left to re-seal. */
export type SealedValue = { jwe: string; keyVersion: number };

/**
 * Where sealed values live. Values are immutable and addressed by (tenant, object, generation) and their own content: a
 * new value is put first, then the credential's metadata is committed to MongoDB, then the old value is deleted. Which
 * value counts is decided by that commit alone, so writers never stand in each other's way, and a late one cannot
 * harm what was committed. A crash between put and commit leaves a sealed value that nothing refers to; `purge` takes it.
 */
export type SecretStore = {
  readonly name: string;
  /** Durable when it resolves; putting the same value again is success. Throws `store_unavailable`. */
  put(items: { context: SealContext; sealed: SealedValue }[]): Promise<StoredSecret[]>;
  /** In order; null where missing. */
  get(items: { context: SealContext; stored: StoredSecret }[]): Promise<(string | null)[]>;
  /** A value that is not there is success. */
  delete(items: { context: SealContext; stored: StoredSecret }[]): Promise<void>;
  /** Deletes every value of these objects, whatever its generation, and what crashes left behind. */
  purge(objects: Pick<SealContext, 'tenantId' | 'objectId'>[]): Promise<void>;
  health(): Promise<void>;
};

/**
 * Kept in the credential's document. The `mongodb` store keeps the JWE right here, so that it commits with the entry;
 * the others name it by `ref`, a hash of it.
 */
export type StoredSecret = { store: string; keyVersion: number; jwe?: string; ref?: string };
