/** Every place where a sealed value lies. What is not in this table is forgotten by key rotations: the compiler refuses gaps. */
import type { SealContext, StoredSecret } from '../sealing/contract.ts';
import type { CollectionName, Documents } from './database.ts';

/** Paths in a document, as MongoDB names them, that lead to a `StoredSecret`. */
type SealedPath<T> = T extends readonly (infer Item)[]
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

type Sealed = { [N in CollectionName]: [SealedPath<Documents[N]>] extends [never] ? never : N }[CollectionName];

/** Where a value lies in one document, and what it is bound to. */
type Place = { path: string; stored: StoredSecret | null; objectId: string; generation: number };

type Table = { [N in Sealed]: Record<SealedPath<Documents[N]>, (doc: Documents[N]) => Place[]> };

const at = (path: string, stored: StoredSecret | null, objectId: string, generation = 1): Place[] => [
  { path, stored, objectId, generation },
];

/** Collection → path → the values there. In the order in which they are sealed anew. */
export const SEALED_VALUES: Table = {
  credentials: {
    secret: (doc) => at('secret', doc.secret, doc._id, doc.generation),
    'rotation.pending': ({ rotation }) =>
      rotation ? at('rotation.pending', rotation.pending, rotation.id, rotation.attempt) : [],
    'rotation.previous': ({ _id, rotation }) =>
      rotation ? at('rotation.previous', rotation.previous, _id, rotation.generation) : [],
  },
  events: { sealed: (doc) => at('sealed', doc.sealed, doc._id) },
  authorizations: { codeVerifier: (doc) => at('codeVerifier', doc.codeVerifier, doc._id) },
  principals: { signing: (doc) => at('signing', doc.signing, doc._id) },
  alert_sources: { secret: (doc) => at('secret', doc.secret, doc._id) },
  subscriptions: {
    'secrets.sealed': (doc) =>
      doc.secrets.flatMap(({ sealed, generation }, index) =>
        at(`secrets.${index}.sealed`, sealed, doc._id, generation),
      ),
  },
  signing_keys: { sealed: (doc) => at('sealed', doc.sealed, doc._id) },
};

/** Names of the collections that hold sealed values, in the order of the table. */
export const SEALED_COLLECTIONS = Object.keys(SEALED_VALUES) as (keyof Table)[];

export type SealedCollection = keyof Table;

export type SealedPlace = { path: string; stored: StoredSecret; context: SealContext };

/** The sealed values of one document. */
export function sealedValuesOf<N extends SealedCollection>(name: N, doc: Documents[N]): SealedPlace[] {
  const rows = Object.values(SEALED_VALUES[name]) as ((doc: Documents[N]) => Place[])[];
  return rows
    .flatMap((valuesOf) => valuesOf(doc))
    .flatMap(({ path, stored, objectId, generation }) =>
      stored ? [{ path, stored, context: { tenantId: doc.tenantId, objectId, generation } }] : [],
    );
}

/** A query for documents one of whose values has `condition` true of a field of its `StoredSecret`. */
export function whereSealed(name: SealedCollection, field: keyof StoredSecret, condition: object) {
  return { $or: Object.keys(SEALED_VALUES[name]).map((path) => ({ [`${path}.${field}`]: condition })) };
}
