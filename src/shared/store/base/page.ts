/** One page of a list of a tenant, in the order of ids. `after`: the last id of the page before; undefined for the first page. */
export type IdPage = { tenantId: string; after: string | undefined; limit: number };

/** One page of a list of a tenant, in the order of the log. `after`: the last `seq` of the page before; 0 for the first page. */
export type SeqPage = { tenantId: string; after: number; limit: number };

/** What a page in ascending order asks of ids: ids grow with time, so the oldest comes first. */
export function idAfter(after: string | undefined): { _id?: { $gt: string } } {
  return after === undefined ? {} : { _id: { $gt: after } };
}

/** What a page in descending order asks of ids: the newest comes first. */
export function idBefore(after: string | undefined): { _id?: { $lt: string } } {
  return after === undefined ? {} : { _id: { $lt: after } };
}
