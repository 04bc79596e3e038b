import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';

/** Paths in a document, as MongoDB names them, that lead to a `StoredSecret`. */
export type SealedPath<T> = T extends readonly (infer Item)[]
  ? SealedPath<Item>
  : T extends Date
    ? never
    : T extends object
      ? { [K in keyof T & string]-?: PathOf<K, NonNullable<T[K]>> }[keyof T & string]
      : never;

type PathOf<K extends string, V> = V extends StoredSecret
  ? K
  : SealedPath<V> extends infer Below extends string
    ? `${K}.${Below}`
    : never;

/** Where a value lies in one document, and what it is bound to. */
export type Place = { path: string; stored: StoredSecret | null; objectId: string; generation: number };

/** Every path of a document that holds a sealed value → the values there. The compiler refuses gaps. */
export type SealedPlaces<D> = Record<SealedPath<D>, (doc: D) => Place[]>;

/** One place. */
export function at(path: string, stored: StoredSecret | null, objectId: string, generation = 1): Place[] {
  return [{ path, stored, objectId, generation }];
}
