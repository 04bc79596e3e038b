import type { Clock } from '../../platform/clock.ts';
import type { Config } from '../../platform/config/parse.ts';
import type { Random } from '../../platform/random.ts';

/** Holds root keys and wraps data keys with them. */
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

/** A key provider as a plug-in: each file in `plugins/` exports one as `plugin`. `create` throws `config_invalid`; it does no I/O. */
export type KeyProviderPlugin = {
  /** File name without its ending. */
  readonly name: string;
  create(config: Config, deps: PluginDeps): KeyProvider;
};

export type PluginDeps = { clock: Clock; random: Pick<Random, 'bytes'> };
