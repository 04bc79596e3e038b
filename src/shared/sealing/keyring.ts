import type { Clock } from '../platform/clock.ts';
import { AppError } from '../platform/errors.ts';
import {
  DATA_KEY_BYTES,
  type DataKeysDeps,
  ensureFirstDataKey,
  type UsableDataKey,
  wrapContextOf,
} from './data-keys.ts';
import {
  adoptDocs,
  type CachedKey,
  type DataKey,
  dropKey,
  type Entry,
  emptyEntry,
  type KeyCache,
  makeKeyCache,
} from './key-cache.ts';
import type { DataKeyPurpose } from './key-providers/contract.ts';
import { makeRenewer, type Renewer } from './stale-while-revalidate.ts';

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

/** A bounded cache of unwrapped data keys in front of `data_keys` and the key provider. */
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

type Ring = { options: KeyringOptions; renewer: Renewer; cache: KeyCache };

export function makeKeyring(options: KeyringOptions): Keyring {
  const ring: Ring = { options, renewer: makeRenewer(options), cache: makeKeyCache(options.maxEntries) };
  return {
    peek: (tenantId, purpose, version) => peek(ring, entryId(tenantId, purpose), version),
    load: (tenantId, purpose, version) => load(ring, tenantId, purpose, version),
    versions: async (tenantId, purpose) => (await view(ring, tenantId, purpose)).docs.map((doc) => doc.version),
    evictExpired: () => evictExpired(ring),
    close: () => ring.cache.all().forEach(ring.cache.evict),
  };
}

function peek(ring: Ring, id: string, version: number | undefined): DataKey | undefined {
  const entry = ring.cache.get(id);
  if (!entry) return undefined;
  const now = ring.options.clock.now();
  const key = entry.keys.get(version ?? entry.currentVersion ?? 0);
  if (!key || now >= key.freshUntil || now >= entry.freshUntil) return undefined;
  ring.cache.keep(entry);
  return key;
}

async function load(ring: Ring, tenantId: string, purpose: DataKeyPurpose, version?: number): Promise<DataKey> {
  const entry = await view(ring, tenantId, purpose);
  const doc = docOf(entry, version) ?? docOf(await lookAgain(ring, entry, version), version);
  if (doc) return unwrapped(ring, entry, doc);
  const which = version === undefined ? 'no active version' : `no usable version ${version}`;
  throw new AppError('secret_unreadable', { internal: `data key ${entry.id}: ${which}` });
}

/** The entry, read again from MongoDB when it is no longer fresh. */
async function view(ring: Ring, tenantId: string, purpose: DataKeyPurpose): Promise<Entry> {
  const id = entryId(tenantId, purpose);
  const known = ring.cache.get(id);
  if (known && ring.options.clock.now() < known.freshUntil) return known;
  const entry = known ?? emptyEntry(id, tenantId, purpose);
  return ring.renewer.renew(id, known, () => fetchEntry(ring, entry));
}

/** A second look for what `view` lacks: the first key is made; a version may be newer than a shared read. */
async function lookAgain(ring: Ring, entry: Entry, version: number | undefined): Promise<Entry> {
  if (version !== undefined) return fetchEntry(ring, entry);
  return ring.renewer.renew(`${entry.id}:first`, undefined, async () => {
    const docs = await ring.options.dataKeys.versions(entry.tenantId, entry.purpose);
    // Where there ever was a key, none is made in place of a destroyed one.
    if (docs.length === 0) await ensureFirstDataKey(ring.options, entry.tenantId, entry.purpose);
    return fetchEntry(ring, entry);
  });
}

async function fetchEntry(ring: Ring, entry: Entry): Promise<Entry> {
  adoptDocs(entry, await ring.options.dataKeys.versions(entry.tenantId, entry.purpose));
  if (entry.docs.length === 0) {
    // That there is none is not remembered: another process may make the first at any time.
    ring.cache.evict(entry);
    return entry;
  }
  Object.assign(entry, ring.renewer.lifetime(ring.options.refreshMs));
  ring.cache.keep(entry);
  return entry;
}

async function unwrapped(ring: Ring, entry: Entry, doc: UsableDataKey): Promise<DataKey> {
  const now = ring.options.clock.now();
  const cached = entry.keys.get(doc.version);
  if (cached && now < cached.freshUntil) return cached;
  const ended = cached && now >= cached.usableUntil;
  if (ended) dropKey(entry, doc.version);
  return ring.renewer.renew(doc._id, ended ? undefined : cached, () => fetchKey(ring, entry, doc));
}

async function fetchKey(ring: Ring, entry: Entry, doc: UsableDataKey): Promise<CachedKey> {
  try {
    const bytes = await ring.options.keyProvider.unwrap(doc.wrapped, wrapContextOf(doc));
    if (bytes.length !== DATA_KEY_BYTES) {
      throw new AppError('secret_unreadable', { internal: `data key ${doc._id} has not 32 bytes` });
    }
    dropKey(entry, doc.version);
    const key = { id: doc._id, version: doc.version, bytes, ...ring.renewer.lifetime(ring.options.maxAgeMs) };
    entry.keys.set(doc.version, key);
    // The entry may have been evicted meanwhile: this caller still gets the key, then it is zeroed.
    if (ring.cache.get(entry.id) !== entry) dropKey(entry, doc.version);
    return key;
  } catch (error) {
    if (error instanceof AppError && error.code === 'secret_unreadable') dropKey(entry, doc.version);
    throw error;
  }
}

function evictExpired(ring: Ring): void {
  const now = ring.options.clock.now();
  for (const entry of ring.cache.all()) {
    for (const key of [...entry.keys.values()]) if (now >= key.usableUntil) dropKey(entry, key.version);
    if (now >= entry.usableUntil) ring.cache.evict(entry);
  }
}

function docOf(entry: Entry, version: number | undefined): UsableDataKey | undefined {
  const wanted = version ?? entry.currentVersion;
  return entry.docs.find((doc) => doc.version === wanted);
}

function entryId(tenantId: string, purpose: DataKeyPurpose): string {
  return `${tenantId}:${purpose}`;
}
