import { makeBoundedMap } from '../platform/bounded-map.ts';
import type { DataKeyDoc } from './contract.ts';
import { isUsable, type UsableDataKey } from './data-keys.ts';
import type { DataKeyPurpose } from './key-providers/contract.ts';
import type { Lifetime } from './stale-while-revalidate.ts';

/** An unwrapped data key. Use `bytes` at once, not after another await: an evicted key's bytes are zeroed and emptied. */
export type DataKey = { readonly id: string; readonly version: number; bytes: Buffer };

export type CachedKey = DataKey & Lifetime;

/** All that is known of the keys of one tenant for one purpose. Its lifetime is that of `docs`. */
export type Entry = Lifetime & {
  readonly id: string;
  readonly tenantId: string;
  readonly purpose: DataKeyPurpose;
  /** Versions that still open, newest first. */
  docs: UsableDataKey[];
  /** The version to seal with; undefined when there is none. */
  currentVersion: number | undefined;
  keys: Map<number, CachedKey>;
};

/** Entries by id, the least recently used first. */
export type KeyCache = {
  get(id: string): Entry | undefined;
  /** Takes the entry in, or marks it as just used. Above the bound the least recently used one is evicted. */
  keep(entry: Entry): void;
  evict(entry: Entry): void;
  all(): Entry[];
};

const GONE = Buffer.alloc(0);

/** @param maxEntries at least 1. */
export function makeKeyCache(maxEntries: number): KeyCache {
  const entries = makeBoundedMap<string, Entry>(maxEntries);

  function evict(entry: Entry): void {
    for (const version of [...entry.keys.keys()]) dropKey(entry, version);
    if (entries.get(entry.id) === entry) entries.delete(entry.id);
  }

  return {
    get: (id) => entries.get(id),
    keep(entry) {
      const gone = entries.set(entry.id, entry);
      if (gone) evict(gone);
    },
    evict,
    all: () => [...entries.values()],
  };
}

/** An entry that nothing is known of yet. */
export function emptyEntry(id: string, tenantId: string, purpose: DataKeyPurpose): Entry {
  return { id, tenantId, purpose, docs: [], currentVersion: undefined, keys: new Map(), freshUntil: 0, usableUntil: 0 };
}

/** Takes over what MongoDB says, and drops the keys of versions that were retired or destroyed. */
export function adoptDocs(entry: Entry, docs: DataKeyDoc[]): void {
  entry.docs = docs.filter(isUsable);
  entry.currentVersion = entry.docs.find((doc) => doc.state === 'active')?.version;
  const usable = new Set(entry.docs.map((doc) => doc.version));
  for (const version of [...entry.keys.keys()]) if (!usable.has(version)) dropKey(entry, version);
}

/** Forgets a key and zeroes it once those who were handed it in this turn of the event loop have used it. */
export function dropKey(entry: Entry, version: number): void {
  const key = entry.keys.get(version);
  if (!key) return;
  entry.keys.delete(version);
  setImmediate(() => {
    key.bytes.fill(0);
    // An empty key makes a late use fail; a zeroed one would seal under a key that everyone knows.
    key.bytes = GONE;
  });
}
