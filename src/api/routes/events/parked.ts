import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { eventRow } from '../../../shared/events/catalogue.ts';
import { discardParked, retryParked } from '../../../shared/events/parked.ts';
import { acceptedSchema, eventSchema, viewEvent } from '../../../shared/events/view.ts';
import { sendEventHints } from '../../../shared/queue/hints.ts';
import type { EventDoc } from '../../../shared/store/lifecycle/events.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['events'];
const params = z.object({ id: z.string().max(100) });
const listQuery = pageQuery.extend({ status: eventSchema.shape.status.optional() });

/** `GET /v1/events`, and what a person decides on a parked one: `POST /v1/events/{id}/{retry,discard}`. */
export function parkedEventRoutes(app: App, api: Api): void {
  listRoute(app, api);
  decisionRoute(app, api, 'retry', 'Has a parked event worked on again');
  decisionRoute(app, api, 'discard', 'Gives a parked event up, and forgets its secrets');
}

function listRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/events',
    {
      schema: {
        tags,
        summary: 'Events, the newest first; `status=parked` are those that wait for a person',
        querystring: listQuery,
        response: { 200: pageOf(eventSchema), ...refusals },
      },
    },
    async (request) => {
      const { tenantId } = callerOf(request);
      requirePermission(callerOf(request), 'events', 'read');
      const rows = await find(deps, tenantId, request.query);
      return toPage(rows, request.query.limit, { keyOf: (doc) => doc._id, view: viewEvent });
    },
  );
}

async function find(
  { database }: Api['deps'],
  tenantId: string,
  query: z.infer<typeof listQuery>,
): Promise<EventDoc[]> {
  const before = placeOf(query.cursor);
  return await database
    .collection('events')
    .find({ tenantId, ...(query.status && { status: query.status }), ...(before && { _id: { $lt: before } }) })
    .sort({ _id: -1 })
    .limit(query.limit + 1)
    .toArray();
}

function decisionRoute(app: App, { deps }: Api, decision: 'retry' | 'discard', summary: string): void {
  const act = { retry: retryParked, discard: discardParked }[decision];
  const tell = async ({ _id, type }: EventDoc) => {
    const queue = decision === 'retry' && eventRow(type)?.queue;
    if (queue) await sendEventHints(deps, queue, [_id]);
  };
  app.post(
    `/v1/events/:id/${decision}`,
    { schema: { tags, summary, params, response: { 202: acceptedSchema, ...refusals } } },
    async (request, reply) => {
      requirePermission(callerOf(request), 'events', 'manage');
      const { tenantId } = callerOf(request);
      const eventId = request.params.id;
      await tell(await act(deps, { tenantId, eventId, actor: actorOf(request) }));
      reply.code(202);
      return { eventId };
    },
  );
}
