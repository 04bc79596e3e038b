import type { Db, IndexDescription, MongoClient } from 'mongodb';

/** The database as `openDatabase` gives it; the first argument of every query. */
export type HasDb = { readonly db: Db };

/** The database with the client that transactions are begun with. */
export type HasClient = HasDb & { readonly client: MongoClient };

/** The indexes of one collection. A comment at each says which question it answers. */
export type Indexes = (IndexDescription & { key: Record<string, 1 | -1> })[];

/** Makes an index partial: documents without `field` are not in it and cost nothing. */
export function whenPresent(field: string): Pick<IndexDescription, 'partialFilterExpression'> {
  return { partialFilterExpression: { [field]: { $exists: true } } };
}

/** Options of a query that grows with a tenant: one that takes longer fails, rather than keep the server busy. */
export const BOUNDED = { maxTimeMS: 20_000 } as const;
