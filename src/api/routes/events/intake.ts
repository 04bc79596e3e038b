import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { acceptFromOutside } from '../../../shared/events/accept.ts';
import {
  batchSchema,
  eventSchema,
  incomingEventSchema,
  receiptsSchema,
  viewEvent,
  viewReceipt,
} from '../../../shared/events/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { findCredentialOwner } from '../../../shared/store/lifecycle/credentials-lookup.ts';
import { type EventDoc, findEvent } from '../../../shared/store/lifecycle/events.ts';
import { makeBackpressure } from '../../http/backpressure.ts';
import { BATCH_TYPE, fromBinary, isBinary, MAX_BATCH, STRUCTURED_TYPE } from '../../http/cloud-events.ts';
import { type Api, type App, callerOf, senderOf } from '../../http/context.ts';
import { permitOn } from '../../http/permission.ts';
import { refusals } from '../../http/problem.ts';

const MAX_BODY_BYTES = 8 * 1024 * 1024;

const tags = ['events'];

/** `POST /v1/events`, `GET /v1/events/{id}`. */
export function intakeRoutes(app: App, api: Api): void {
  sendRoute(app, api);
  progressRoute(app, api);
}

function sendRoute(app: App, api: Api): void {
  const backpressure = makeBackpressure(api.deps);
  app.post(
    '/v1/events',
    {
      onRequest: backpressure.admit,
      bodyLimit: MAX_BODY_BYTES,
      config: {
        permission: { serviceOf: 'each event', action: 'of its type' },
        // Each event of a batch is judged on its own, by these same schemas, in intake.
        documentedBody: {
          [STRUCTURED_TYPE]: incomingEventSchema,
          [BATCH_TYPE]: batchSchema,
          'application/json': z.unknown().meta({ description: 'Binary mode: data; the attributes are ce-* headers' }),
        },
      },
      schema: {
        tags,
        summary: 'Takes one CloudEvent or a batch of up to 1000',
        description: 'Durable once answered. The same source and id again is a `duplicate`.',
        response: { 202: receiptsSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const { events, single } = eventsOf(request);
      const receipts = await acceptFromOutside(api.deps, senderOf(request), events);
      for (const { status } of receipts) api.metrics.events.inc({ status });
      const fresh = receipts.filter(({ status }) => status === 'accepted').length;
      backpressure.accepted(callerOf(request).tenantId, fresh);
      const first = receipts[0];
      if (single && first?.status === 'rejected')
        throw new AppError(first.problem.code, { detail: first.problem.detail });
      reply.code(202);
      return { results: receipts.map(viewReceipt) };
    },
  );
}

function progressRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/events/:id',
    {
      config: { permission: { serviceOf: 'event', action: 'read', orSender: true } },
      schema: {
        tags,
        summary: 'The progress of an event',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: eventSchema, ...refusals },
      },
    },
    async (request) => {
      const { _id: principalId, tenantId } = callerOf(request);
      const doc = await findEvent(deps.database, { tenantId, id: request.params.id });
      if (!doc) throw new AppError('not_found');
      if (doc.principalId !== principalId) permitOn(request)(await serviceOf(deps, doc));
      return viewEvent(doc);
    },
  );
}

function eventsOf(request: FastifyRequest): { events: unknown[]; single: boolean } {
  if (isBinary(request)) return { events: [fromBinary(request)], single: true };
  const { body } = request;
  if (!request.headers['content-type']?.toLowerCase().startsWith(BATCH_TYPE)) return { events: [body], single: true };
  if (!Array.isArray(body) || body.length > MAX_BATCH) {
    throw new AppError('invalid_event', { detail: `A batch is a JSON array of at most ${MAX_BATCH} events.` });
  }
  return { events: body, single: false };
}

/** The service that an event is about; `*` where it names none that is there. */
async function serviceOf({ database }: Api['deps'], { tenantId, data, credentialId }: EventDoc): Promise<string> {
  if (typeof data.service === 'string') return data.service;
  const owner = credentialId && (await findCredentialOwner(database, { tenantId, id: credentialId }));
  return owner ? owner.service : '*';
}
