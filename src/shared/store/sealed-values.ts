/**
 * Every place where a sealed value lies, and the queries that go over all of them. A place that is not in this table would be
 * forgotten by key rotations: the compiler refuses gaps.
 */
import type { AnyBulkWriteOperation, Document } from 'mongodb';
import type { SealContext, StoredSecret } from '../sealing/secret-stores/contract.ts';
import { SEALED as principals } from './access/principals.ts';
import type { HasDb } from './base/collection.ts';
import { FREE } from './base/document.ts';
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

type AnyDocument = { _id: string } & Document;

/** A document that may hold sealed values. */
export type SealedDocument = Documents[SealedCollection];

/** The sealed values of each document of a tenant, of all collections, as they come from the server. */
export async function* walkSealedValues({ db }: HasDb, tenantId: string): AsyncGenerator<SealedPlace[]> {
  for (const name of SEALED_COLLECTIONS) {
    for await (const doc of db.collection<AnyDocument>(name).find({ tenantId })) {
      yield sealedValuesOf(name, doc as never);
    }
  }
}

/** The sealed values of these documents. By their ids alone: the caller read the documents. */
export async function listSealedValues({ db }: HasDb, name: SealedCollection, ids: string[]): Promise<SealedPlace[]> {
  const docs = await db
    .collection<AnyDocument>(name)
    .find({ _id: { $in: ids } })
    .toArray();
  return docs.flatMap((doc) => sealedValuesOf(name, doc as never));
}

/** One value of a document as it was read, and what takes its place. */
export type SealedReplacement = { doc: SealedDocument; from: SealedPlace; to: StoredSecret };

/**
 * Replaces sealed values, all of a document or none. Each write names what was read, the fence included: a worker that took a
 * lease meanwhile has the old value in hand and may write it, so its document is passed over. Resolves to how many documents
 * were written.
 */
export async function replaceSealedValues(
  { db }: HasDb,
  name: SealedCollection,
  replacements: SealedReplacement[],
): Promise<number> {
  if (replacements.length === 0) return 0;
  const byDoc = Map.groupBy(replacements, ({ doc }) => doc._id);
  const writes = [...byDoc.values()].map((group): AnyBulkWriteOperation<AnyDocument> => {
    const { doc } = group[0]!;
    const filter = { _id: doc._id, tenantId: doc.tenantId, ...asRead(group), ...unheld(doc) };
    const $set = Object.fromEntries(group.map(({ from, to }) => [from.path, to]));
    // A holder that let its lease lapse may still have the old value: its fence ends.
    const hasLapsed = 'lease' in doc && doc.lease !== null;
    return { updateOne: { filter, update: { $set, ...(hasLapsed && { $inc: { fence: 1 } }) } } };
  });
  return (await db.collection<AnyDocument>(name).bulkWrite(writes, { ordered: false })).modifiedCount;
}

function asRead(group: SealedReplacement[]): Document {
  const conditions = group.map(({ from: { path, stored } }) => ({
    [`${path}.store`]: stored.store,
    [`${path}.keyVersion`]: stored.keyVersion,
    ...(stored.jwe !== undefined && { [`${path}.jwe`]: stored.jwe }),
    ...(stored.ref !== undefined && { [`${path}.ref`]: stored.ref }),
  }));
  return Object.assign({}, ...conditions);
}

/** For documents that have leases: held by nobody, and not taken since it was read. */
function unheld(doc: SealedDocument): Document {
  return 'fence' in doc ? { fence: doc.fence, ...FREE } : {};
}
