/** A map that never grows past a bound, for what a process remembers about callers whose number it does not choose. */
export type BoundedMap<K, V> = {
  readonly size: number;
  get(key: K): V | undefined;
  /**
   * Puts the value in as the youngest, also when the key was there before. When the map was full the oldest goes: its value
   * is returned, for a caller who has to clean it up.
   */
  set(key: K, value: V): V | undefined;
  delete(key: K): boolean;
  /** Oldest first. */
  values(): IterableIterator<V>;
};

/** @param maxSize entries, at least 1. */
export function makeBoundedMap<K, V>(maxSize: number): BoundedMap<K, V> {
  // A Map keeps the order of insertion, so its first entry is the oldest.
  const entries = new Map<K, V>();
  return {
    get size() {
      return entries.size;
    },
    get: (key) => entries.get(key),
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      if (entries.size <= maxSize) return undefined;
      const [oldest, gone] = entries.entries().next().value as [K, V];
      entries.delete(oldest);
      return gone;
    },
    delete: (key) => entries.delete(key),
    values: () => entries.values(),
  };
}
