import { z } from 'zod';
import { requireSubscription } from '../../../shared/delivery/subscription-changes.ts';
import {
  pauseSubscription,
  replaySubscription,
  resumeSubscription,
  rotateSubscriptionSecret,
} from '../../../shared/delivery/subscription-requests.ts';
import {
  createdSubscriptionSchema,
  deliverySchema,
  replaySchema,
  secretRotationSchema,
  subscriptionSchema,
  viewDelivery,
  viewSubscription,
} from '../../../shared/delivery/subscription-schema.ts';
import { listDeliveries } from '../../../shared/store/delivery/deliveries.ts';
import type { Api, App } from '../../http/context.ts';
import { addList, BY_SEQ } from '../../http/list-route.ts';
import { refusals } from '../../http/problem.ts';
import { MANAGE_SUBSCRIPTIONS, READ_SUBSCRIPTIONS, subscriptionCall } from './call.ts';

const tags = ['subscriptions'];
const params = z.object({ id: z.string().max(100) });

/** `/v1/subscriptions/{id}/…`: its deliveries, and acts on it beyond changing its settings. */
export function subscriptionActionRoutes(app: App, api: Api): void {
  deliveriesRoute(app, api);
  replayRoute(app, api);
  rotateSecretRoute(app, api);
  for (const row of STATE_CHANGES) stateRoute(app, api, row);
}

function deliveriesRoute(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/subscriptions/:id/deliveries',
    permission: READ_SUBSCRIPTIONS,
    tags,
    summary: 'How the telling of each entry stands, in the order of the log',
    params,
    filters: { status: z.enum(['delivered', 'retrying', 'parked']).optional() },
    order: BY_SEQ,
    async rows(page, request) {
      const { tenantId, id } = subscriptionCall(request);
      const { _id: subscriptionId } = await requireSubscription(deps, tenantId, id);
      return listDeliveries(deps.database, { ...page, subscriptionId });
    },
    item: deliverySchema,
    view: viewDelivery,
  });
}

function replayRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions/:id/replay',
    {
      config: { permission: MANAGE_SUBSCRIPTIONS },
      schema: {
        tags,
        summary: 'Tells entries again from a seq on, parked ones included',
        params,
        body: replaySchema,
        response: { 202: subscriptionSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const changed = await replaySubscription(deps, subscriptionCall(request), request.body.fromSeq);
      reply.code(202);
      return viewSubscription(changed);
    },
  );
}

function rotateSecretRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions/:id/rotate-secret',
    {
      config: { permission: MANAGE_SUBSCRIPTIONS },
      schema: {
        tags,
        summary: 'Replaces the secret; the old one stays valid for a while',
        description:
          'A secret that we make is in this reply and nowhere else. Until then webhooks carry both signatures.',
        params,
        body: secretRotationSchema,
        response: { 200: createdSubscriptionSchema, ...refusals },
      },
    },
    async (request) => {
      const { subscription, shown } = await rotateSubscriptionSecret(deps, subscriptionCall(request), request.body);
      return { ...viewSubscription(subscription), secret: shown };
    },
  );
}

const STATE_CHANGES = [
  { name: 'pause', act: pauseSubscription, summary: 'Stops telling; what happens meanwhile is told after `resume`' },
  {
    name: 'resume',
    act: resumeSubscription,
    summary: 'Goes on where it was paused or disabled, or tries at once a consumer that was down',
  },
] as const;

function stateRoute(app: App, { deps }: Api, { name, act, summary }: (typeof STATE_CHANGES)[number]): void {
  app.post(
    `/v1/subscriptions/:id/${name}`,
    {
      config: { permission: MANAGE_SUBSCRIPTIONS },
      schema: { tags, summary, params, response: { 200: subscriptionSchema, ...refusals } },
    },
    async (request) => viewSubscription(await act(deps, subscriptionCall(request))),
  );
}
