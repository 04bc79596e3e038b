import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { quarantineOrRestore } from '../../../shared/credentials/quarantine.ts';
import { credentialSchema, viewCredential } from '../../../shared/credentials/view.ts';
import { acceptEvents } from '../../../shared/events/accept.ts';
import { EVENTS, type EventType } from '../../../shared/events/catalogue.ts';
import { acceptedSchema } from '../../../shared/events/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { newId } from '../../../shared/platform/ids.ts';
import { type Api, type App, actorOf, callerOf, senderOf } from '../../http/context.ts';
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

/** Calls that ask for work: they become an event, like everything that workers act on. */
const REQUESTS = {
  refresh: 'credential.refresh.requested',
  rotate: 'credential.rotation.requested',
  revoke: 'credential.revocation.requested',
} as const satisfies Record<string, EventType>;

/** Calls that are done when they are answered. Each is its own transition, and its own action in a permission. */
const CHANGES = { quarantine: 'Stops its release at once', restore: 'Ends its quarantine' } as const;

/** All that can be asked of a credential: `POST /v1/credentials/{id}/…`, `DELETE /v1/credentials/{id}`. */
export function credentialRequestRoutes(app: App, api: Api): void {
  for (const [name, type] of Object.entries(REQUESTS)) workRoute(app, api, name, type);
  destroyRoute(app, api);
  for (const [name, summary] of Object.entries(CHANGES)) changeRoute(app, api, name as keyof typeof CHANGES, summary);
}

function workRoute(app: App, api: Api, name: string, type: EventType): void {
  app.post(
    `/v1/credentials/:id/${name}`,
    {
      config: { permission: { serviceOf: 'credential', action: EVENTS[type].action } },
      schema: {
        tags,
        summary: `Asks to ${name} it`,
        params,
        headers: idempotency,
        body: reasonBody,
        response: { 202: acceptedSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const { reason } = request.body ?? {};
      const eventId = await ask(api, request, type, { credentialId: request.params.id, ...(reason && { reason }) });
      reply.code(202);
      return { eventId };
    },
  );
}

function destroyRoute(app: App, api: Api): void {
  app.delete(
    '/v1/credentials/:id',
    {
      config: { permission: { serviceOf: 'credential', action: EVENTS[REQUESTS.revoke].action } },
      schema: {
        tags,
        summary: 'Revokes it at the provider, then destroys the secret; the record stays',
        params,
        headers: idempotency,
        response: { 202: acceptedSchema, ...refusals },
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

/**
 * Files the event on the caller's behalf, and resolves to its id; the same idempotency key again is the same event. Throws what
 * intake rejects it with: intake also checks the permission.
 */
async function ask({ deps, metrics }: Api, request: FastifyRequest, type: EventType, data: Asked): Promise<string> {
  const sender = senderOf(request);
  const key = request.headers['idempotency-key'] ?? newId('event', deps);
  const id = [sender.principal._id, request.routeOptions.url, data.credentialId, key].join('/');
  // Intake would call an id of the wrong form invalid; here it names a credential that does not exist.
  if (!/^cred_[0-9a-f]{32}$/.test(data.credentialId)) throw new AppError('not_found');
  const [receipt] = await acceptEvents(deps, sender, [{ specversion: '1.0', id, source: 'keyturn:api', type, data }]);
  metrics.events.inc({ status: receipt!.status });
  if (receipt!.status !== 'rejected') return receipt!.eventId;
  const { code, detail } = receipt!.problem;
  // The body of an absent object is the same on every call.
  throw code === 'not_found' ? new AppError(code) : new AppError(code, { detail });
}

function changeRoute(app: App, { deps }: Api, name: keyof typeof CHANGES, summary: string): void {
  app.post(
    `/v1/credentials/:id/${name}`,
    {
      config: { permission: { serviceOf: 'credential', action: name } },
      schema: { tags, summary, params, body: reasonBody, response: { 200: credentialSchema, ...refusals } },
    },
    async (request) => {
      const reason = request.body?.reason ?? null;
      const call = { principal: callerOf(request), actor: actorOf(request), reason };
      return viewCredential(await quarantineOrRestore(deps, call, name, request.params.id));
    },
  );
}
