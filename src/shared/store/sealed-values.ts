/** Every place where a sealed value lies. What is not in this table is forgotten by key rotations: the compiler refuses gaps. */
import type { SealContext, StoredSecret } from '../sealing/secret-stores/contract.ts';
import { SEALED as principals } from './access/principals.ts';
import type { Place, SealedPath, SealedPlaces } from './base/sealed-path.ts';
import { SEALED as alertSources } from './compromise/alert-sources.ts';
import type { CollectionName, Documents } from './database.ts';
import { SEALED as subscriptions } from './delivery/subscriptions.ts';
import { SEALED as signingKeys } from './keys/signing-keys.ts';
import { SEALED as authorizations } from './lifecycle/authorizations.ts';
import { SEALED as credentials } from './lifecycle/credentials.ts';
import { SEALED as events } from './lifecycle/events.ts';

type Sealed = { [N in CollectionName]: [SealedPath<Documents[N]>] extends [never] ? never : N }[CollectionName];

type Table = { [N in Sealed]: SealedPlaces<Documents[N]> };

/** Collection → path → the values there. In the order in which they are sealed anew. */
export const SEALED_VALUES: Table = {
  credentials,
  events,
  authorizations,
  principals,
  alert_sources: alertSources,
  subscriptions,
  signing_keys: signingKeys,
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
