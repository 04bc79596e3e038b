/** `detect_cursors`: how far the rules have read. */

/** How far the rules have read a tenant's log. `_id` is the tenant's. */
export type DetectCursorDoc = { _id: string; tenantId: string; seq: number };
