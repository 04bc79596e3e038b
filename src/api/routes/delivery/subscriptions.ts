import { z } from 'zod';
import { deleteSubscription, requireSubscription } from '../../../shared/delivery/subscription-changes.ts';
import { createSubscription, updateSubscription } from '../../../shared/delivery/subscription-requests.ts';
import {
  createdSubscriptionSchema,
  newSubscriptionSchema,
  subscriptionChangesSchema,
  subscriptionSchema,
  viewSubscription,
} from '../../../shared/delivery/subscription-schema.ts';
import { listSubscriptions } from '../../../shared/store/delivery/subscriptions.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { addList, BY_ID } from '../../http/list-route.ts';
import { refusals } from '../../http/problem.ts';
import { MANAGE_SUBSCRIPTIONS, READ_SUBSCRIPTIONS, subscriptionCall } from './call.ts';

const tags = ['subscriptions'];
const params = z.object({ id: z.string().max(100) });

/** `/v1/subscriptions`: who is told what. */
export function subscriptionRoutes(app: App, api: Api): void {
  createRoute(app, api);
  listRoute(app, api);
  showRoute(app, api);
  changeRoute(app, api);
  deleteRoute(app, api);
}

function createRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions',
    {
      config: { permission: MANAGE_SUBSCRIPTIONS },
      schema: {
        tags,
        summary: 'Subscribes a consumer to entries of the log, from now on',
        description: 'A secret that we make is in this reply and nowhere else. `replay` tells what happened before.',
        body: newSubscriptionSchema,
        response: { 201: createdSubscriptionSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const call = { tenantId: callerOf(request).tenantId, actor: actorOf(request) };
      const { subscription, shown } = await createSubscription(deps, call, request.body);
      reply.code(201);
      return { ...viewSubscription(subscription), secret: shown };
    },
  );
}

function listRoute(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/subscriptions',
    permission: READ_SUBSCRIPTIONS,
    tags,
    summary: 'Lists subscriptions, oldest first; never their secrets',
    order: BY_ID,
    rows: (page) => listSubscriptions(deps.database, page),
    item: subscriptionSchema,
    view: viewSubscription,
  });
}

function showRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/subscriptions/:id',
    {
      config: { permission: READ_SUBSCRIPTIONS },
      schema: { tags, summary: 'One subscription', params, response: { 200: subscriptionSchema, ...refusals } },
    },
    async (request) => viewSubscription(await requireSubscription(deps, callerOf(request).tenantId, request.params.id)),
  );
}

function changeRoute(app: App, { deps }: Api): void {
  app.patch(
    '/v1/subscriptions/:id',
    {
      config: { permission: MANAGE_SUBSCRIPTIONS },
      schema: {
        tags,
        summary: 'Changes name, settings or filter',
        description: 'For what has not been told yet. What is left out stays.',
        params,
        body: subscriptionChangesSchema,
        response: { 200: subscriptionSchema, ...refusals },
      },
    },
    async (request) => viewSubscription(await updateSubscription(deps, subscriptionCall(request), request.body)),
  );
}

function deleteRoute(app: App, { deps }: Api): void {
  app.delete(
    '/v1/subscriptions/:id',
    {
      config: { permission: MANAGE_SUBSCRIPTIONS },
      schema: {
        tags,
        summary: 'Ends a subscription',
        description: 'What was not delivered is not told any more. Its entries stay on the log.',
        params,
        response: { 204: z.null(), ...refusals },
      },
    },
    async (request, reply) => {
      const { tenantId, id, actor } = subscriptionCall(request);
      await deleteSubscription(deps, await requireSubscription(deps, tenantId, id), actor);
      return reply.code(204).send(null);
    },
  );
}
