import type { Clock } from '../../platform/clock.ts';
import type { Config } from '../../platform/config/parse.ts';
import type { Random } from '../../platform/random.ts';

/** A sealed value is bound to these by its protected header. */
export type SealContext = { tenantId: string; objectId: string; generation: number };

/** A secret store as a plug-in: each file in `plugins/` exports one as `plugin`. `create` throws `config_invalid`; it does no I/O. */
export type SecretStorePlugin = {
  /** File name without its ending. */
  readonly name: string;
  create(config: Config, deps: PluginDeps): SecretStore;
};

/** `keyVersion`: the data key's version, kept as metadata so that a rotation finds what is left to re-seal. */
export type SealedValue = { jwe: string; keyVersion: number };

/**
 * The place of sealed values. They are immutable and addressed by (tenant, object, generation) and their own content: a new
 * value is put first, then the credential's metadata is committed to MongoDB, then the old value is deleted. That commit alone
 * decides which value counts, so writers never stand in each other's way, and a late one cannot harm what was committed. A
 * crash between put and commit leaves a sealed value that nothing refers to; `purge` removes it.
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

export type PluginDeps = { clock: Clock; random: Pick<Random, 'bytes'> };
