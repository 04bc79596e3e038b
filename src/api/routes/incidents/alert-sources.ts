import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { type AlertSourcePlugin, loadAlertSources } from '../../../shared/incidents/alerts/sources/contract.ts';
import {
  alertSourceSchema,
  createdAlertSourceSchema,
  newAlertSourceSchema,
  viewAlertSource,
} from '../../../shared/incidents/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { newId } from '../../../shared/platform/ids.ts';
import type { AlertSourceDoc } from '../../../shared/store/compromise/alert-sources.ts';
import { makeEntry } from '../../../shared/store/entry.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['alerts'];

/** `/v1/alert-sources`: who may send alerts to the caller's tenant, each with an address and a secret of its own. */
export function alertSourceRoutes(app: App, api: Api): void {
  createRoute(app, api);
  listRoute(app, api);
  revokeRoute(app, api);
}

function createRoute(app: App, { deps, publicUrl }: Api): void {
  app.post(
    '/v1/alert-sources',
    {
      schema: {
        tags,
        summary: 'Makes an address for alerts, and the secret that they are signed with',
        description: 'The secret is in this reply and nowhere else.',
        body: newAlertSourceSchema,
        response: { 201: createdAlertSourceSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requirePermission(caller, 'alerts', 'manage');
      const plugin = pluginOf(await loadAlertSources(), request.body.source);
      const secret = plugin.newSecret(deps.random);
      const _id = newId('alertSource', deps);
      const { tenantId } = caller;
      const sealed = await deps.sealer.seal(secret.reveal(), { tenantId, objectId: _id, generation: 1 });
      const doc: AlertSourceDoc = {
        _id,
        tenantId,
        source: plugin.name,
        name: request.body.name,
        secret: { store: 'mongodb', ...sealed },
        createdAt: new Date(deps.clock.now()),
        revokedAt: null,
      };
      const detail = { alertSourceId: _id, source: doc.source, name: doc.name };
      await deps.commit({
        operations: [{ in: 'alert_sources', insert: doc }],
        entries: [makeEntry(deps, { tenantId, type: 'alert_source.created', actor: actorOf(request), detail })],
      });
      reply.code(201);
      return { ...viewAlertSource(doc, publicUrl()), secret: secret.reveal() };
    },
  );
}

function pluginOf(plugins: Map<string, AlertSourcePlugin>, name: string): AlertSourcePlugin {
  const plugin = plugins.get(name);
  if (plugin) return plugin;
  const known = [...plugins.values()].map((one) => `${one.name} (${one.about})`).join('; ');
  throw new AppError('invalid_request', { detail: `body.source: there are ${known}.` });
}

function listRoute(app: App, { deps, publicUrl }: Api): void {
  app.get(
    '/v1/alert-sources',
    {
      schema: {
        tags,
        summary: 'Lists them, oldest first; never their secrets',
        querystring: pageQuery,
        response: { 200: pageOf(alertSourceSchema), ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'alerts', 'manage');
      const after = placeOf(request.query.cursor);
      const { limit } = request.query;
      const where = { tenantId: caller.tenantId, ...(after !== undefined && { _id: { $gt: after } }) };
      const found = deps.database.collection('alert_sources').find(where).sort({ _id: 1 });
      const rows = await found.limit(limit + 1).toArray();
      return toPage(rows, limit, { keyOf: (doc) => doc._id, view: (doc) => viewAlertSource(doc, publicUrl()) });
    },
  );
}

function revokeRoute(app: App, { deps, publicUrl }: Api): void {
  app.delete(
    '/v1/alert-sources/:id',
    {
      schema: {
        tags,
        summary: 'Closes the address at once',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: alertSourceSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'alerts', 'manage');
      const { tenantId } = caller;
      const where = { _id: request.params.id, tenantId };
      const sources = deps.database.collection('alert_sources');
      const doc = await sources.findOne(where);
      if (!doc) throw new AppError('not_found');
      if (doc.revokedAt) return viewAlertSource(doc, publicUrl());
      const revokedAt = new Date(deps.clock.now());
      const detail = { alertSourceId: doc._id };
      await deps.commit({
        operations: [{ in: 'alert_sources', update: { ...where, revokedAt: null }, set: { $set: { revokedAt } } }],
        entries: [makeEntry(deps, { tenantId, type: 'alert_source.revoked', actor: actorOf(request), detail })],
      });
      return viewAlertSource({ ...doc, revokedAt }, publicUrl());
    },
  );
}
