/** All lists of the API. Each declares its path, permission, filters, query and view; pages and cursors are made here. */
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { type App, callerOf } from './context.ts';
import type { RoutePermission } from './permission.ts';
import { refusals } from './problem.ts';

/** The order of a list, and so the meaning of its cursors, which are opaque to callers. */
export type Order<Doc, Place> = {
  /** Where a row stands. */
  placeOf(doc: Doc): string;
  /** Where a page begins: after this place in the order of the list. `text` is undefined on the first page. */
  parse(text: string | undefined): Place;
};

/** By id: the order in which things were made, oldest or newest first. */
export const BY_ID: Order<{ _id: string }, string | undefined> = {
  placeOf: ({ _id }) => _id,
  parse: (text) => text,
};

/** By `seq`: the order of the log. A cursor that is no number is as good as none. */
export const BY_SEQ: Order<{ seq: number }, number> = {
  placeOf: ({ seq }) => String(seq),
  parse(text) {
    const seq = Number(text ?? 0);
    return Number.isSafeInteger(seq) ? seq : 0;
  },
};

/** Handed to the query of a list, beside its filters. */
export type Page<Place> = {
  tenantId: string;
  after: Place;
  /** One more than is shown: the last one tells that there is a next page. */
  limit: number;
};

export type ListRoute<Filters extends z.ZodRawShape, Doc, View, Place> = {
  path: string;
  permission: RoutePermission;
  tags: string[];
  summary: string;
  params?: z.ZodObject;
  /** Query parameters besides `limit` and `cursor`. */
  filters?: Filters;
  order: Order<NoInfer<Doc>, Place>;
  rows(page: Page<Place> & z.output<z.ZodObject<Filters>>, request: FastifyRequest): Promise<Doc[]>;
  item: z.ZodType<View>;
  view(doc: Doc): View;
};

const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,200}$/, 'must be the nextCursor of an earlier page')
    .optional(),
});

/** Adds the route of a list: `{items, nextCursor}`, where `nextCursor` is null on the last page. */
export function addList<Filters extends z.ZodRawShape, Doc, View, Place>(
  app: App,
  list: ListRoute<Filters, Doc, View, Place>,
): void {
  const { path, permission, tags, summary, params, filters, order, rows, item, view } = list;
  const querystring = pageQuery.extend(filters ?? {});
  const page = z.object({ items: z.array(item), nextCursor: z.string().nullable() });
  const schema = { tags, summary, ...(params && { params }), querystring, response: { 200: page, ...refusals } };
  app.get(path, { config: { permission }, schema }, async (request) => {
    const { cursor, limit, ...rest } = request.query as z.output<typeof pageQuery>;
    const asked = { tenantId: callerOf(request).tenantId, after: order.parse(decode(cursor)), limit: limit + 1 };
    const found = await rows({ ...(rest as z.output<z.ZodObject<Filters>>), ...asked }, request);
    const shown = found.slice(0, limit);
    const last = shown.at(-1);
    const hasMore = found.length > limit && last !== undefined;
    return { items: shown.map(view), nextCursor: hasMore ? encode(order.placeOf(last)) : null };
  });
}

const encode = (place: string) => Buffer.from(place).toString('base64url');

const decode = (cursor: string | undefined) => cursor && Buffer.from(cursor, 'base64url').toString();
