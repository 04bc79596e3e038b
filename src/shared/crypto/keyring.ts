import type { Clock } from '../clock.ts';
import { AppError } from '../errors.ts';
import type { DataKeyDoc, DataKeyPurpose } from './contract.ts';
import {
  DATA_KEY_BYTES,
  type DataKeysDeps,
  ensureFirstDataKey,
  isUsable,
  readDataKeys,
  type UsableDataKey,
  wrapContextOf,
} from './data-keys.ts';
import { type Lifetime, makeRenewer } from './renewal.ts';

/** An unwrapped data key. Use `bytes` at once, not after another await: an evicted key's bytes are zeroed and emptied. */
export type DataKey = { readonly id: string; readonly version: number; bytes: Buffer };

export type KeyringOptions = Omit<DataKeysDeps, 'clock'> & {
  clock: Clock;
  /** An unwrapped key older than this is unwrapped anew by the key provider before its next use. */
  maxAgeMs: number;
  /** While the key provider or MongoDB is away, what is cached works on for this time after its age ended. */
  graceMs: number;
  /** How soon a version made, retired or destroyed by another process is noticed. */
  refreshMs: number;
  /** Pause between attempts while the key provider or MongoDB is away. */
  retryMs: number;
  /** Bound of the cache, in (tenant, purpose) pairs; the least recently used goes first. */
  maxEntries: number;
};

export type Keyring = {
  /** The cached key, at once, or undefined: then `load`. Without `version`: the one to seal with. */
  peek(tenantId: string, purpose: DataKeyPurpose, version?: number): DataKey | undefined;
  /**
   * The key, from MongoDB and the key provider. Without `version` the first key is made when there is none. Throws
   * `key_unavailable`, `store_unavailable`; `secret_unreadable` when that version does not exist or was destroyed.
   */
  load(tenantId: string, purpose: DataKeyPurpose, version?: number): Promise<DataKey>;
  /** Versions that still open, newest first; none before the first key is made. Throws `store_unavailable`. */
  versions(tenantId: string, purpose: DataKeyPurpose): Promise<number[]>;
  /** Zeroes keys whose grace has ended. To be called now and then: an idle tenant's key would stay otherwise. */
  evictExpired(): void;
  /** Zeroes every key. */
  close(): void;
};

type CachedKey = DataKey & Lifetime;

/** What is known of one (tenant, purpose). `docs` are the usable versions, newest first. */
type Entry = Lifetime & {
  id: string;
  tenantId: string;
  purpose: DataKeyPurpose;
  docs: UsableDataKey[];
  currentVersion: number | undefined;
  keys: Map<number, CachedKey>;
};

const GONE = Buffer.alloc(0);

/** A bounded cache of unwrapped data keys in front of `data_keys` and the key provider. */
export function makeKeyring(options: KeyringOptions): Keyring {
  const { clock, keyProvider } = options;
  const renewer = makeRenewer(options);
  const entries = new Map<string, Entry>();

  function peek(tenantId: string, purpose: DataKeyPurpose, version?: number): DataKey | undefined {
    const entry = entries.get(`${tenantId}:${purpose}`);
    if (!entry) return undefined;
    const now = clock.now();
    if (now >= entry.freshUntil) return undefined;
    const key = entry.keys.get(version ?? entry.currentVersion ?? 0);
    if (!key || now >= key.freshUntil) return undefined;
    touch(entry);
    return key;
  }

  async function load(tenantId: string, purpose: DataKeyPurpose, version?: number): Promise<DataKey> {
    const entry = await view(tenantId, purpose);
    const doc = docOf(entry, version) ?? docOf(await look(entry, version), version);
    if (!doc) throw missing(tenantId, purpose, version);
    return unwrapped(entry, doc);
  }

  async function versions(tenantId: string, purpose: DataKeyPurpose): Promise<number[]> {
    const entry = await view(tenantId, purpose);
    return entry.docs.map((doc) => doc.version);
  }

  /** The entry, read again from MongoDB when it is no longer fresh. */
  async function view(tenantId: string, purpose: DataKeyPurpose): Promise<Entry> {
    const id = `${tenantId}:${purpose}`;
    const known = entries.get(id);
    if (known && clock.now() < known.freshUntil) return known;
    const entry = known ?? newEntry(id, tenantId, purpose);
    return renewer.renew(id, known, () => fetchEntry(entry));
  }

  /** A second look for what `view` lacks: the first key is made; a version may be newer than a shared read. */
  async function look(entry: Entry, version: number | undefined): Promise<Entry> {
    if (version !== undefined) return fetchEntry(entry);
    return renewer.renew(`${entry.id}:first`, undefined, async () => {
      const docs = await readDataKeys(options, entry.tenantId, entry.purpose);
      // Once there was a key, none is ever made in place of a destroyed one.
      if (docs.length === 0) await ensureFirstDataKey(options, entry.tenantId, entry.purpose);
      return fetchEntry(entry);
    });
  }

  async function fetchEntry(entry: Entry): Promise<Entry> {
    adopt(entry, await readDataKeys(options, entry.tenantId, entry.purpose));
    // That there is none is not remembered: another process may make the first at any time.
    if (entry.docs.length === 0) {
      entries.delete(entry.id);
      return entry;
    }
    Object.assign(entry, renewer.lifetime(options.refreshMs));
    touch(entry);
    evictOverflow();
    return entry;
  }

  async function unwrapped(entry: Entry, doc: UsableDataKey): Promise<DataKey> {
    let cached = entry.keys.get(doc.version);
    if (cached && clock.now() < cached.freshUntil) return cached;
    if (cached && clock.now() >= cached.usableUntil) {
      drop(entry, doc.version);
      cached = undefined;
    }
    return renewer.renew(doc._id, cached, () => fetchKey(entry, doc));
  }

  async function fetchKey(entry: Entry, doc: UsableDataKey): Promise<CachedKey> {
    try {
      const bytes = await keyProvider.unwrap(doc.wrapped, wrapContextOf(doc));
      if (bytes.length !== DATA_KEY_BYTES)
        throw new AppError('secret_unreadable', { internal: `${doc._id}: not 32 bytes` });
      drop(entry, doc.version);
      const key = { id: doc._id, version: doc.version, bytes, ...renewer.lifetime(options.maxAgeMs) };
      entry.keys.set(doc.version, key);
      // The entry may have been evicted meanwhile; the caller still gets the key, then it is zeroed.
      if (entries.get(entry.id) !== entry) drop(entry, doc.version);
      return key;
    } catch (error) {
      if (error instanceof AppError && error.code === 'secret_unreadable') drop(entry, doc.version);
      throw error;
    }
  }

  function touch(entry: Entry): void {
    entries.delete(entry.id);
    entries.set(entry.id, entry);
  }

  function evictOverflow(): void {
    for (const entry of entries.values()) {
      if (entries.size <= options.maxEntries) return;
      evict(entry);
    }
  }

  function evict(entry: Entry): void {
    for (const version of [...entry.keys.keys()]) drop(entry, version);
    entries.delete(entry.id);
  }

  function evictExpired(): void {
    const now = clock.now();
    for (const entry of [...entries.values()]) {
      for (const key of [...entry.keys.values()]) if (now >= key.usableUntil) drop(entry, key.version);
      if (now >= entry.usableUntil) evict(entry);
    }
  }

  return { peek, load, versions, evictExpired, close: () => [...entries.values()].forEach(evict) };
}

function newEntry(id: string, tenantId: string, purpose: DataKeyPurpose): Entry {
  return { id, tenantId, purpose, docs: [], currentVersion: undefined, keys: new Map(), freshUntil: 0, usableUntil: 0 };
}

function docOf(entry: Entry, version: number | undefined): UsableDataKey | undefined {
  const wanted = version ?? entry.currentVersion;
  return entry.docs.find((doc) => doc.version === wanted);
}

/** Takes over what MongoDB says, and drops the keys of versions that were retired or destroyed. */
function adopt(entry: Entry, docs: DataKeyDoc[]): void {
  entry.docs = docs.filter(isUsable);
  entry.currentVersion = entry.docs.find((doc) => doc.state === 'active')?.version;
  const usable = new Set(entry.docs.map((doc) => doc.version));
  for (const version of [...entry.keys.keys()]) if (!usable.has(version)) drop(entry, version);
}

/** Forgets a key and zeroes it once those who were handed it in this turn of the event loop have used it. */
function drop(entry: Entry, version: number): void {
  const key = entry.keys.get(version);
  if (!key) return;
  entry.keys.delete(version);
  setImmediate(() => {
    key.bytes.fill(0);
    // An empty key makes a late use fail; a zeroed one would seal under a key that everyone knows.
    key.bytes = GONE;
  });
}

function missing(tenantId: string, purpose: DataKeyPurpose, version: number | undefined): AppError {
  const which = version === undefined ? 'no active version' : `no usable version ${version}`;
  return new AppError('secret_unreadable', { internal: `data key ${tenantId}:${purpose}: ${which}` });
}
