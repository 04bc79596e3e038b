import type { Db, IndexDescription } from 'mongodb';

/** What the queries of a collection are asked of: the database, as `openDatabase` gives it. */
export type HasDb = { readonly db: Db };

/** The indexes of one collection. A comment at each says which question it answers. */
export type Indexes = (IndexDescription & { key: Record<string, 1 | -1> })[];

/** Makes an index partial: documents without `field` are not in it and cost nothing. */
export function whenPresent(field: string): Pick<IndexDescription, 'partialFilterExpression'> {
  return { partialFilterExpression: { [field]: { $exists: true } } };
}
