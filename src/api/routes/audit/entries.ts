import { z } from 'zod';
import { chainEntries } from '../../../shared/audit/chain.ts';
import { entrySchema, viewEntry } from '../../../shared/audit/entry-view.ts';
import { listEntries } from '../../../shared/store/audit/entries.ts';
import type { Api, App } from '../../http/context.ts';
import { addList, BY_SEQ } from '../../http/list-route.ts';

/** `GET /v1/audit`: who did what to which credential, from where, with what outcome; in the order of the chain. */
export function auditRoutes(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/audit',
    permission: { resource: 'audit', action: 'read' },
    tags: ['audit'],
    summary: 'The audit log, oldest first',
    filters: {
      type: z.string().max(80).optional(),
      credentialId: z.string().max(80).optional(),
      principal: z.string().max(250).optional().meta({ description: 'Id of the principal who acted' }),
      since: z.iso.datetime({ offset: true }).optional(),
    },
    order: BY_SEQ,
    async rows({ principal: actorId, since, ...page }) {
      // The answer has all that was committed before this call: what no worker has given its place yet gets it now.
      await chainEntries(deps, page.tenantId);
      return listEntries(deps.database, { ...page, actorId, ...(since !== undefined && { since: new Date(since) }) });
    },
    item: entrySchema,
    view: viewEntry,
  });
}
