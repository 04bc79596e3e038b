import { z } from 'zod';
import { eventRow } from '../../../shared/events/catalogue.ts';
import { discardParked, retryParked } from '../../../shared/events/parked.ts';
import { acceptedSchema, eventSchema, viewEvent } from '../../../shared/events/schema.ts';
import { sendEventHints } from '../../../shared/queue/hints.ts';
import { type EventDoc, listEvents } from '../../../shared/store/lifecycle/events.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { addList, BY_ID } from '../../http/list-route.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['events'];
const params = z.object({ id: z.string().max(100) });

/** `GET /v1/events`, and what a person decides on a parked one: `POST /v1/events/{id}/{retry,discard}`. */
export function parkedEventRoutes(app: App, api: Api): void {
  listRoute(app, api);
  decisionRoute(app, api, 'retry', 'Has a parked event worked on again');
  decisionRoute(app, api, 'discard', 'Gives a parked event up, and forgets its secrets');
}

function listRoute(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/events',
    permission: { resource: 'events', action: 'read' },
    tags,
    summary: 'Events, the newest first; `status=parked` are those that wait for a person',
    filters: { status: eventSchema.shape.status.optional() },
    order: BY_ID,
    rows: (page) => listEvents(deps.database, page),
    item: eventSchema,
    view: viewEvent,
  });
}

function decisionRoute(app: App, { deps }: Api, decision: 'retry' | 'discard', summary: string): void {
  const act = { retry: retryParked, discard: discardParked }[decision];
  const tell = async ({ _id, type }: EventDoc) => {
    const queue = decision === 'retry' && eventRow(type)?.queue;
    if (queue) await sendEventHints(deps, queue, [_id]);
  };
  app.post(
    `/v1/events/:id/${decision}`,
    {
      config: { permission: { resource: 'events', action: 'manage' } },
      schema: { tags, summary, params, response: { 202: acceptedSchema, ...refusals } },
    },
    async (request, reply) => {
      const { tenantId } = callerOf(request);
      const eventId = request.params.id;
      await tell(await act(deps, { tenantId, eventId, actor: actorOf(request) }));
      reply.code(202);
      return { eventId };
    },
  );
}
