import type { Filter } from 'mongodb';
import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { entrySchema, viewEntry } from '../../../shared/access/schema.ts';
import { chainEntries } from '../../../shared/audit/chain.ts';
import type { ChainedEntry } from '../../../shared/store/audit/entries.ts';
import { type Api, type App, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const auditQuery = pageQuery.extend({
  type: z.string().max(80).optional(),
  credentialId: z.string().max(80).optional(),
  principal: z.string().max(250).optional().meta({ description: 'Id of the principal who acted' }),
  since: z.iso.datetime({ offset: true }).optional(),
});

/** `GET /v1/audit`: who did what to which credential, from where, with what outcome; in the order of the chain. */
export function auditRoutes(app: App, { deps }: Api): void {
  app.get(
    '/v1/audit',
    {
      schema: {
        tags: ['audit'],
        summary: 'The audit log, oldest first',
        querystring: auditQuery,
        response: { 200: pageOf(entrySchema), ...refusals },
      },
    },
    async (request) => {
      const principal = callerOf(request);
      requirePermission(principal, 'audit', 'read');
      // What was committed before this call is in the answer: it gets its place now if no worker gave it one yet.
      await chainEntries(deps, principal.tenantId);
      const { limit } = request.query;
      const found = deps.database.collection('audit').find(filterOf(principal.tenantId, request.query));
      const rows = await found
        .sort({ seq: 1 })
        .limit(limit + 1)
        .toArray();
      return toPage(rows, limit, { keyOf: (doc) => String(doc.seq), view: viewEntry });
    },
  );
}

function filterOf(tenantId: string, query: z.infer<typeof auditQuery>): Filter<ChainedEntry> {
  const { type, credentialId, principal, since } = query;
  const after = Number(placeOf(query.cursor) ?? 0);
  return {
    tenantId,
    seq: { $gt: Number.isSafeInteger(after) ? after : 0 },
    ...(type !== undefined && { type }),
    ...(credentialId !== undefined && { credentialId }),
    ...(principal !== undefined && { 'actor.id': principal }),
    ...(since !== undefined && { at: { $gte: new Date(since) } }),
  };
}
