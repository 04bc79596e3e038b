import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { loadSink } from '../../../shared/delivery/sinks/contract.ts';
import {
  changeSubscription,
  checkSettings,
  deleteSubscription,
  findSubscription,
  makeSecret,
} from '../../../shared/delivery/subscription-changes.ts';
import {
  createdSubscriptionSchema,
  newSubscriptionSchema,
  subscriptionChangesSchema,
  subscriptionSchema,
  viewSubscription,
} from '../../../shared/delivery/subscription-schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { newId } from '../../../shared/platform/ids.ts';
import type { SubscriptionDoc } from '../../../shared/store/delivery/subscriptions.ts';
import { makeEntry } from '../../../shared/store/entry.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';
import { subscriptionActionRoutes } from './subscription-actions.ts';

const tags = ['subscriptions'];
const params = z.object({ id: z.string().max(100) });

/** `/v1/subscriptions`: who is told what. */
export function subscriptionRoutes(app: App, api: Api): void {
  createRoute(app, api);
  listRoute(app, api);
  readRoute(app, api);
  changeRoute(app, api);
  deleteRoute(app, api);
  subscriptionActionRoutes(app, api);
}

function createRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/subscriptions',
    {
      schema: {
        tags,
        summary: 'Subscribes a consumer to entries of the log, from now on',
        description: 'A secret that we make is in this reply and nowhere else. `replay` tells what happened before.',
        body: newSubscriptionSchema,
        response: { 201: createdSubscriptionSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      const { tenantId } = caller;
      const { name, sink, filter, secret: given } = request.body;
      const plugin = await loadSink(sink);
      const settings = checkSettings(deps, plugin, request.body.settings);
      const _id = newId('subscription', deps);
      const { secret, shown } = await makeSecret(deps, plugin, { tenantId, _id, generation: 1 }, given);
      const head = await deps.database.collection('audit_heads').findOne({ _id: tenantId, tenantId });
      const wanted = { _id, tenantId, name, sink, settings, filter, secrets: secret ? [secret] : [] };
      const doc = freshSubscription(wanted, head?.seq ?? 0, new Date(deps.clock.now()));
      const detail = { subscriptionId: _id, name, sink };
      await deps.commit({
        operations: [{ in: 'subscriptions', insert: doc }],
        entries: [makeEntry(deps, { tenantId, type: 'subscription.created', actor: actorOf(request), detail })],
      });
      reply.code(201);
      return { ...viewSubscription(doc), secret: shown };
    },
  );
}

type Wanted = Pick<SubscriptionDoc, '_id' | 'tenantId' | 'name' | 'sink' | 'settings' | 'filter' | 'secrets'>;

/** It is due at once: the log may have grown since its head was read. */
function freshSubscription(wanted: Wanted, seq: number, now: Date): SubscriptionDoc {
  return {
    ...wanted,
    state: 'active',
    cursor: seq,
    wantedSeq: seq,
    dueAt: now,
    failures: 0,
    lastError: null,
    notBefore: null,
    replays: 0,
    createdAt: now,
    updatedAt: now,
    fence: 0,
    lease: null,
    interrupted: null,
  };
}

function listRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/subscriptions',
    {
      schema: {
        tags,
        summary: 'Lists subscriptions, oldest first; never their secrets',
        querystring: pageQuery,
        response: { 200: pageOf(subscriptionSchema), ...refusals },
      },
    },
    async (request) => {
      const { tenantId } = reader(request);
      const after = placeOf(request.query.cursor);
      const { limit } = request.query;
      const where = { tenantId, ...(after !== undefined && { _id: { $gt: after } }) };
      const found = deps.database.collection('subscriptions').find(where).sort({ _id: 1 });
      const rows = await found.limit(limit + 1).toArray();
      return toPage(rows, limit, { keyOf: (doc) => doc._id, view: viewSubscription });
    },
  );
}

function readRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/subscriptions/:id',
    { schema: { tags, summary: 'One subscription', params, response: { 200: subscriptionSchema, ...refusals } } },
    async (request) => viewSubscription(await findSubscription(deps, reader(request).tenantId, request.params.id)),
  );
}

function changeRoute(app: App, { deps }: Api): void {
  app.patch(
    '/v1/subscriptions/:id',
    {
      schema: {
        tags,
        summary: 'Changes name, settings or filter',
        description: 'For what has not been told yet. What is left out stays.',
        params,
        body: subscriptionChangesSchema,
        response: { 200: subscriptionSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      const { name, settings, filter } = request.body;
      const fields = Object.keys(request.body);
      if (fields.length === 0) throw new AppError('invalid_request', { detail: 'Say what is to be changed.' });
      const doc = await findSubscription(deps, caller.tenantId, request.params.id);
      const checked = settings && checkSettings(deps, await loadSink(doc.sink), settings);
      const set = {
        ...(name !== undefined && { name }),
        ...(checked && { settings: checked }),
        ...(filter && { filter }),
      };
      const detail = { changed: fields.join(' ') };
      const change = { type: 'subscription.updated', actor: actorOf(request), set, detail };
      return viewSubscription(await changeSubscription(deps, doc, change));
    },
  );
}

function deleteRoute(app: App, { deps }: Api): void {
  app.delete(
    '/v1/subscriptions/:id',
    {
      schema: {
        tags,
        summary: 'Ends a subscription',
        description: 'What was not delivered is not told any more. Its entries stay on the log.',
        params,
        response: { 204: z.null(), ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requirePermission(caller, 'subscriptions', 'manage');
      await deleteSubscription(
        deps,
        await findSubscription(deps, caller.tenantId, request.params.id),
        actorOf(request),
      );
      return reply.code(204).send(null);
    },
  );
}

function reader(request: Parameters<typeof callerOf>[0]) {
  const caller = callerOf(request);
  requirePermission(caller, 'subscriptions', 'read');
  return caller;
}
