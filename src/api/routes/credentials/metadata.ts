import type { FastifyRequest } from 'fastify';
import type { Filter } from 'mongodb';
import { z } from 'zod';
import { may, requirePermission } from '../../../shared/access/permissions.ts';
import { changeState } from '../../../shared/credentials/state-requests.ts';
import {
  CREDENTIAL_PROJECTION,
  credentialSchema,
  releaseSchema,
  viewCredential,
} from '../../../shared/credentials/view.ts';
import { acceptEvents } from '../../../shared/events/accept.ts';
import type { EventType } from '../../../shared/events/catalogue.ts';
import { acceptedSchema } from '../../../shared/events/view.ts';
import { AppError, toAppError } from '../../../shared/platform/errors.ts';
import { newId } from '../../../shared/platform/ids.ts';
import type { PrincipalDoc } from '../../../shared/store/access/principals.ts';
import { CREDENTIAL_STATES, type CredentialDoc } from '../../../shared/store/lifecycle/credentials.ts';
import { type Api, type App, actorOf, callerOf, senderOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['credentials'];
const params = z.object({ id: z.string().max(100) });
const idempotency = z.object({
  'idempotency-key': z
    .string()
    .min(1)
    .max(100)
    .optional()
    .meta({ description: 'The same key again is the same event' }),
});
const reasonBody = z.strictObject({ reason: z.string().min(1).max(200).optional() }).nullish();
const listQuery = pageQuery.extend({
  service: z.string().max(40).optional(),
  subject: z.string().max(255).optional(),
  state: z.enum(CREDENTIAL_STATES).optional(),
  dueBefore: z.iso
    .datetime({ offset: true })
    .optional()
    .meta({ description: 'Something is to be done before this time' }),
});

/** Calls that ask for work: they become an event, like everything that workers act on. */
const REQUESTS = {
  refresh: 'credential.refresh.requested',
  rotate: 'credential.rotation.requested',
  revoke: 'credential.revocation.requested',
} as const satisfies Record<string, EventType>;

/** `/v1/credentials`: metadata, the token release, and what can be asked for. */
export function credentialRoutes(app: App, api: Api): void {
  listRoutes(app, api);
  releaseRoute(app, api);
  requestRoutes(app, api);
  stateRoutes(app, api);
}

function listRoutes(app: App, { deps }: Api): void {
  const credentials = () => deps.database.collection('credentials');

  app.get(
    '/v1/credentials',
    {
      schema: {
        tags,
        summary: 'Lists credentials, oldest first',
        querystring: listQuery,
        response: { 200: pageOf(credentialSchema), ...refusals },
      },
    },
    async (request) => {
      const { limit } = request.query;
      const filter = filterOf(callerOf(request), request.query);
      const found = credentials().find(filter, { projection: CREDENTIAL_PROJECTION }).sort({ _id: 1 });
      const rows = await found.limit(limit + 1).toArray();
      return toPage(rows, limit, { keyOf: (doc) => doc._id, view: viewCredential });
    },
  );

  app.get(
    '/v1/credentials/:id',
    { schema: { tags, summary: 'Metadata of one', params, response: { 200: credentialSchema, ...refusals } } },
    async (request) => {
      const principal = callerOf(request);
      const where = { _id: request.params.id, tenantId: principal.tenantId };
      const doc = await credentials().findOne(where, { projection: CREDENTIAL_PROJECTION });
      if (!doc) throw new AppError('not_found');
      requirePermission(principal, doc.service, 'read');
      return viewCredential(doc);
    },
  );
}

/** A principal sees the services that it may read. Throws `permission_denied` when there is none. */
function filterOf(principal: PrincipalDoc, query: z.infer<typeof listQuery>): Filter<CredentialDoc> {
  const { service, subject, state, dueBefore, cursor } = query;
  const after = placeOf(cursor);
  const readable = principal.permissions
    .map((permission) => permission.split(':') as [string, string])
    .filter(([, action]) => action === 'read' || action === '*')
    .map(([resource]) => resource);
  if (service !== undefined || readable.length === 0) requirePermission(principal, service ?? '*', 'read');
  const services = service ?? (may(principal, '*', 'read') ? undefined : { $in: readable });
  const before = dueBefore && { $lte: new Date(dueBefore) };
  return {
    tenantId: principal.tenantId,
    ...(services !== undefined && { service: services }),
    ...(subject !== undefined && { subject }),
    ...(state !== undefined && { state }),
    ...(before && { $or: ['refresh', 'rotate', 'expire', 'validate'].map((what) => ({ [`due.${what}`]: before })) }),
    ...(after !== undefined && { _id: { $gt: after } }),
  };
}

function releaseRoute(app: App, { releaser, stopping }: Api): void {
  app.get(
    '/v1/credentials/:id/token',
    {
      schema: {
        tags,
        summary: 'Releases a valid access token or key',
        description:
          'Refreshes it first if needed. The access is on the audit log before the reply. With the `ETag` of an earlier reply as ' +
          '`If-None-Match` it answers 304 while that secret is still the one to use: then nothing is released, and nothing recorded.',
        params,
        response: {
          200: releaseSchema,
          304: z.null().meta({ description: 'The secret that the caller holds is still the one to use' }),
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const caller = { principal: callerOf(request), actor: actorOf(request), stopping };
      const { id } = request.params;
      const known = request.headers['if-none-match'];
      if (known === undefined) {
        const release = await releaser.release(caller, id);
        reply.header('etag', etagOf(id, release.generation));
        return release;
      }
      const release = await releaser.releaseNewer(caller, id, (generation) => {
        const etag = etagOf(id, generation);
        reply.header('etag', etag);
        return matches(known, etag);
      });
      if (release) reply.header('etag', etagOf(id, release.generation));
      // Not even `null` is sent: a 304 has no content (RFC 9110 §15.4.5).
      return release ?? reply.code(304).send(undefined as never);
    },
  );
}

function etagOf(id: string, generation: number): string {
  return `"${id}.${generation}"`;
}

/** RFC 9110 §13.1.2, by weak comparison. `*` matches nothing here: it names no secret that the caller holds. */
function matches(ifNoneMatch: string, etag: string): boolean {
  return ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === etag);
}

function requestRoutes(app: App, api: Api): void {
  const response = { 202: acceptedSchema, ...refusals };
  for (const [name, type] of Object.entries(REQUESTS)) {
    app.post(
      `/v1/credentials/:id/${name}`,
      { schema: { tags, summary: `Asks to ${name} it`, params, headers: idempotency, body: reasonBody, response } },
      async (request, reply) => {
        const { reason } = request.body ?? {};
        const eventId = await ask(api, request, type, { credentialId: request.params.id, ...(reason && { reason }) });
        reply.code(202);
        return { eventId };
      },
    );
  }
  app.delete(
    '/v1/credentials/:id',
    {
      schema: {
        tags,
        summary: 'Revokes it at the provider, then destroys the secret; the record stays',
        params,
        headers: idempotency,
        response,
      },
    },
    async (request, reply) => {
      const eventId = await ask(api, request, REQUESTS.revoke, { credentialId: request.params.id, destroy: true });
      reply.code(202);
      return { eventId };
    },
  );
}

type Asked = { credentialId: string; reason?: string; destroy?: boolean };

/** Files the event on the caller's behalf. Throws what intake rejects it with; the same key again is the same event. */
async function ask({ deps, metrics }: Api, request: FastifyRequest, type: EventType, data: Asked): Promise<string> {
  const sender = senderOf(request);
  const key = request.headers['idempotency-key'] ?? newId('event', deps);
  const id = [sender.principal._id, request.routeOptions.url, data.credentialId, key].join('/');
  // What is no id at all is as absent as what is not there.
  if (!/^cred_[0-9a-f]{32}$/.test(data.credentialId)) throw new AppError('not_found');
  const [receipt] = await acceptEvents(deps, sender, [{ specversion: '1.0', id, source: 'keyturn:api', type, data }]);
  metrics.events.inc({ status: receipt!.status });
  if (receipt!.status !== 'rejected') return receipt!.eventId;
  const { code, detail } = receipt!.problem;
  // The body of an absent object is the same on every call.
  throw code === 'not_found' ? new AppError(code) : new AppError(code, { detail });
}

function stateRoutes(app: App, { deps }: Api): void {
  for (const transition of ['quarantine', 'restore'] as const) {
    app.post(
      `/v1/credentials/:id/${transition}`,
      {
        schema: {
          tags,
          summary: transition === 'quarantine' ? 'Stops its release at once' : 'Ends its quarantine',
          params,
          body: reasonBody,
          response: { 200: credentialSchema, ...refusals },
        },
      },
      async (request) => {
        const reason = request.body?.reason ?? null;
        const call = { principal: callerOf(request), actor: actorOf(request), reason };
        return viewCredential(await changeState(deps, call, transition, request.params.id).catch(asStoreError));
      },
    );
  }
}

function asStoreError(error: unknown): never {
  throw toAppError(error);
}
