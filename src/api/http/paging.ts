import { z } from 'zod';

/** Query parameters of every list. */
export const pageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,200}$/, 'must be the nextCursor of an earlier page')
    .optional(),
});

/** The reply of a list: `nextCursor` is null on the last page. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() });
}

/** A page from one more row than was asked for. `keyOf` gives the place of a row; cursors are opaque to callers. */
export function toPage<Doc, View>(
  rows: Doc[],
  limit: number,
  row: { keyOf: (doc: Doc) => string; view: (doc: Doc) => View },
): { items: View[]; nextCursor: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const more = rows.length > limit && last !== undefined;
  return {
    items: shown.map(row.view),
    nextCursor: more ? Buffer.from(row.keyOf(last)).toString('base64url') : null,
  };
}

/** The place that a cursor stands for, or undefined on the first page. */
export function placeOf(cursor: string | undefined): string | undefined {
  return cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
}
