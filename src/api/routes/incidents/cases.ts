import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { acknowledge, resolve } from '../../../shared/incidents/changes.ts';
import { acknowledgeSchema, incidentSchema, resolveSchema, viewIncident } from '../../../shared/incidents/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { INCIDENT_STATUSES } from '../../../shared/store/compromise/incidents.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['incidents'];
const params = z.object({ id: z.string().max(100) });
const listQuery = pageQuery.extend({
  status: z.enum(INCIDENT_STATUSES).optional(),
  credentialId: z.string().max(80).optional(),
});

/** `/v1/incidents`: the cases, and what a person does with them. */
export function incidentRoutes(app: App, api: Api): void {
  listRoutes(app, api);
  changeRoutes(app, api);
}

function listRoutes(app: App, { deps }: Api): void {
  const incidents = () => deps.database.collection('incidents');
  app.get(
    '/v1/incidents',
    {
      schema: {
        tags,
        summary: 'Lists incidents, newest first',
        querystring: listQuery,
        response: { 200: pageOf(incidentSchema), ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'incidents', 'read');
      const { limit, cursor, status, credentialId } = request.query;
      const before = placeOf(cursor);
      const where = {
        tenantId: caller.tenantId,
        ...(status !== undefined && { status }),
        ...(credentialId !== undefined && { credentialId }),
        ...(before !== undefined && { _id: { $lt: before } }),
      };
      const rows = await incidents()
        .find(where)
        .sort({ _id: -1 })
        .limit(limit + 1)
        .toArray();
      return toPage(rows, limit, { keyOf: (doc) => doc._id, view: viewIncident });
    },
  );
  app.get(
    '/v1/incidents/:id',
    { schema: { tags, summary: 'One incident', params, response: { 200: incidentSchema, ...refusals } } },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'incidents', 'read');
      const doc = await incidents().findOne({ _id: request.params.id, tenantId: caller.tenantId });
      if (!doc) throw new AppError('not_found');
      return viewIncident(doc);
    },
  );
}

function changeRoutes(app: App, { deps }: Api): void {
  const response = { 200: incidentSchema, ...refusals };
  app.post(
    '/v1/incidents/:id/acknowledge',
    { schema: { tags, summary: 'A person has taken it on', params, body: acknowledgeSchema, response } },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'incidents', 'manage');
      const call = { tenantId: caller.tenantId, id: request.params.id, actor: actorOf(request) };
      return viewIncident(await acknowledge(deps, call, request.body?.proceed ?? false));
    },
  );
  app.post(
    '/v1/incidents/:id/resolve',
    { schema: { tags, summary: 'Ends the case', params, body: resolveSchema, response } },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'incidents', 'manage');
      const { resolution, note = null } = request.body;
      const call = { tenantId: caller.tenantId, id: request.params.id, actor: actorOf(request) };
      return viewIncident(await resolve(deps, call, { resolution, note }));
    },
  );
}
