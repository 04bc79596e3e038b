import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { acknowledge, type IncidentCall, resolve } from '../../../shared/incidents/acknowledge-and-resolve.ts';
import { acknowledgeSchema, incidentSchema, resolveSchema, viewIncident } from '../../../shared/incidents/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { findIncident, INCIDENT_STATUSES, listIncidents } from '../../../shared/store/compromise/incidents.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { addList, BY_ID } from '../../http/list-route.ts';
import type { RoutePermission } from '../../http/permission.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['incidents'];
const params = z.object({ id: z.string().max(100) });
const read: RoutePermission = { resource: 'incidents', action: 'read' };
const manage: RoutePermission = { resource: 'incidents', action: 'manage' };

/** `/v1/incidents`: the cases, and what a person does with them. */
export function incidentRoutes(app: App, api: Api): void {
  listRoute(app, api);
  showRoute(app, api);
  changeRoutes(app, api);
}

function listRoute(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/incidents',
    permission: read,
    tags,
    summary: 'Lists incidents, newest first',
    filters: { status: z.enum(INCIDENT_STATUSES).optional(), credentialId: z.string().max(80).optional() },
    order: BY_ID,
    rows: (page) => listIncidents(deps.database, page),
    item: incidentSchema,
    view: viewIncident,
  });
}

function showRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/incidents/:id',
    {
      config: { permission: read },
      schema: { tags, summary: 'One incident', params, response: { 200: incidentSchema, ...refusals } },
    },
    async (request) => {
      const { tenantId } = callerOf(request);
      const doc = await findIncident(deps.database, { tenantId, id: request.params.id });
      if (!doc) throw new AppError('not_found');
      return viewIncident(doc);
    },
  );
}

function changeRoutes(app: App, { deps }: Api): void {
  const config = { permission: manage };
  const response = { 200: incidentSchema, ...refusals };
  app.post(
    '/v1/incidents/:id/acknowledge',
    { config, schema: { tags, summary: 'A person has taken it on', params, body: acknowledgeSchema, response } },
    async (request) => viewIncident(await acknowledge(deps, callOf(request), request.body?.proceed ?? false)),
  );
  app.post(
    '/v1/incidents/:id/resolve',
    { config, schema: { tags, summary: 'Ends the case', params, body: resolveSchema, response } },
    async (request) => {
      const { resolution, note = null } = request.body;
      return viewIncident(await resolve(deps, callOf(request), { resolution, note }));
    },
  );
}

/** The case in the path, and who acts on it. */
function callOf(request: FastifyRequest): IncidentCall {
  const { id } = request.params as z.infer<typeof params>;
  return { tenantId: callerOf(request).tenantId, id, actor: actorOf(request) };
}
