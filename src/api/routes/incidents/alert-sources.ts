import { z } from 'zod';
import { createAlertSource, revokeAlertSource } from '../../../shared/incidents/alerts/source-changes.ts';
import {
  alertSourceSchema,
  createdAlertSourceSchema,
  newAlertSourceSchema,
  viewAlertSource,
} from '../../../shared/incidents/schema.ts';
import { listAlertSources } from '../../../shared/store/compromise/alert-sources.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { addList, BY_ID } from '../../http/list-route.ts';
import type { RoutePermission } from '../../http/permission.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['alerts'];
const permission: RoutePermission = { resource: 'alerts', action: 'manage' };

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
      config: { permission },
      schema: {
        tags,
        summary: 'Makes an address for alerts, and the secret that they are signed with',
        description: 'The secret is in this reply and nowhere else.',
        body: newAlertSourceSchema,
        response: { 201: createdAlertSourceSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const call = { tenantId: callerOf(request).tenantId, actor: actorOf(request) };
      const { source, secret } = await createAlertSource(deps, call, request.body);
      reply.code(201);
      return { ...viewAlertSource(source, publicUrl()), secret: secret.reveal() };
    },
  );
}

function listRoute(app: App, { deps, publicUrl }: Api): void {
  addList(app, {
    path: '/v1/alert-sources',
    permission,
    tags,
    summary: 'Lists them, oldest first; never their secrets',
    order: BY_ID,
    rows: (page) => listAlertSources(deps.database, page),
    item: alertSourceSchema,
    view: (doc) => viewAlertSource(doc, publicUrl()),
  });
}

function revokeRoute(app: App, { deps, publicUrl }: Api): void {
  app.delete(
    '/v1/alert-sources/:id',
    {
      config: { permission },
      schema: {
        tags,
        summary: 'Closes the address at once',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: alertSourceSchema, ...refusals },
      },
    },
    async (request) => {
      const call = { tenantId: callerOf(request).tenantId, actor: actorOf(request) };
      return viewAlertSource(await revokeAlertSource(deps, call, request.params.id), publicUrl());
    },
  );
}
