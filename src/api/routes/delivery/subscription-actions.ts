import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { changeSubscription, findSubscription, rotatedSecrets } from '../../../shared/delivery/subscription-changes.ts';
import {
  createdSubscriptionSchema,
  deliverySchema,
  replaySchema,
  secretRotationSchema,
  subscriptionSchema,
  viewDelivery,
  viewSubscription,
} from '../../../shared/delivery/subscription-schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['subscriptions'];
const params = z.object({ id: z.string().max(100) });

const deliveriesQuery = pageQuery.extend({ status: z.enum(['delivered', 'retrying', 'parked']).optional() });

/** What is done with a subscription beyond making and changing it. */
export function subscriptionActionRoutes(app: App, api: Api): void {
  deliveriesRoute(app, api);
  replayRoute(app, api);
  rotateSecretRoute(app, api);
  pauseRoute(app, api);
  resumeRoute(app, api);
}

function deliveriesRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/subscriptions/:id/deliveries',
    {
      schema: {
        tags,
        summary: 'How the telling of each entry stands, in the order of the log',
        params,
        querystring: deliveriesQuery,
        response: { 200: pageOf(deliverySchema), ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'read');
      const { tenantId } = caller;
      const { _id } = await findSubscription(deps, tenantId, request.params.id);
      const { limit, cursor, status } = request.query;
      const after = Number(placeOf(cursor) ?? 0);
      const seq = { $gt: Number.isSafeInteger(after) ? after : 0 };
      const where = { tenantId, subscriptionId: _id, seq, ...(status && { status }) };
      const found = deps.database.collection('deliveries').find(where).sort({ seq: 1 });
      const rows = await found.limit(limit + 1).toArray();
      return toPage(rows, limit, { keyOf: (doc) => String(doc.seq), view: viewDelivery });
    },
  );
}

function replayRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions/:id/replay',
    {
      schema: {
        tags,
        summary: 'Tells entries again from a seq on, parked ones included',
        params,
        body: replaySchema,
        response: { 202: subscriptionSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      const { fromSeq } = request.body;
      const doc = await findSubscription(deps, caller.tenantId, request.params.id);
      if (fromSeq > doc.cursor + 1) {
        throw new AppError('invalid_request', {
          detail: `body.fromSeq: entries from ${doc.cursor + 1} on have not been told yet, and are not skipped.`,
        });
      }
      const now = new Date(deps.clock.now());
      const changed = await changeSubscription(deps, doc, {
        type: 'subscription.replayed',
        actor: actorOf(request),
        detail: { fromSeq },
        // Of what was told meanwhile some is told once more.
        where: { cursor: { $gte: fromSeq - 1 } },
        set: { cursor: fromSeq - 1, replays: doc.replays + 1, ...(doc.state === 'active' && { dueAt: now }) },
      });
      reply.code(202);
      return viewSubscription(changed);
    },
  );
}

function rotateSecretRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions/:id/rotate-secret',
    {
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
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      const doc = await findSubscription(deps, caller.tenantId, request.params.id);
      const { secrets, shown } = await rotatedSecrets(deps, doc, request.body);
      const changed = await changeSubscription(deps, doc, {
        type: 'subscription.secret_rotated',
        actor: actorOf(request),
        detail: { overlapSeconds: request.body.overlapSeconds },
        where: { 'secrets.0.generation': doc.secrets[0]?.generation ?? { $exists: false } },
        set: { secrets },
      });
      return { ...viewSubscription(changed), secret: shown };
    },
  );
}

function pauseRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions/:id/pause',
    {
      schema: {
        tags,
        summary: 'Stops telling; what happens meanwhile is told after `resume`',
        params,
        response: { 200: subscriptionSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      const doc = await findSubscription(deps, caller.tenantId, request.params.id);
      if (doc.state !== 'active') return viewSubscription(doc);
      const change = { type: 'subscription.paused', actor: actorOf(request), where: { state: 'active' } };
      return viewSubscription(
        await changeSubscription(deps, doc, { ...change, set: { state: 'paused' }, unset: { dueAt: '' } }),
      );
    },
  );
}

function resumeRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions/:id/resume',
    {
      schema: {
        tags,
        summary: 'Goes on where it was paused or disabled, or tries at once a consumer that was down',
        params,
        response: { 200: subscriptionSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      const doc = await findSubscription(deps, caller.tenantId, request.params.id);
      const dueAt = new Date(deps.clock.now());
      const set = { state: 'active', failures: 0, notBefore: null, dueAt };
      const change = { type: 'subscription.resumed', actor: actorOf(request), set };
      return viewSubscription(await changeSubscription(deps, doc, change));
    },
  );
}
