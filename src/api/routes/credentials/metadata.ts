import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { resourcesFor } from '../../../shared/access/permissions.ts';
import { credentialSchema, viewCredential } from '../../../shared/credentials/view.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { CREDENTIAL_STATES } from '../../../shared/store/lifecycle/credentials.ts';
import {
  findCredentialMetadata,
  listCredentialMetadata,
} from '../../../shared/store/lifecycle/credentials-metadata.ts';
import { type Api, type App, callerOf } from '../../http/context.ts';
import { addList, BY_ID } from '../../http/list-route.ts';
import { actionOf, permitOn } from '../../http/permission.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['credentials'];

/** `GET /v1/credentials`, `GET /v1/credentials/{id}`: metadata, never a secret. */
export function metadataRoutes(app: App, api: Api): void {
  listRoute(app, api);
  showRoute(app, api);
}

function listRoute(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/credentials',
    permission: { serviceOf: 'each row', action: 'read' },
    tags,
    summary: 'Lists credentials, oldest first',
    filters: {
      service: z.string().max(40).optional(),
      subject: z.string().max(255).optional(),
      state: z.enum(CREDENTIAL_STATES).optional(),
      dueBefore: z.iso
        .datetime({ offset: true })
        .optional()
        .meta({ description: 'Something is to be done before this time' }),
    },
    order: BY_ID,
    rows({ service, dueBefore, ...page }, request) {
      const services = servicesFor(request, service);
      const due = dueBefore === undefined ? {} : { dueBefore: new Date(dueBefore) };
      return listCredentialMetadata(deps.database, { ...page, ...due, services });
    },
    item: credentialSchema,
    view: viewCredential,
  });
}

/** The services whose credentials the caller sees: the one asked for, or all that it may read. Null: all there are. */
function servicesFor(request: FastifyRequest, asked: string | undefined): string[] | null {
  const permit = permitOn(request);
  if (asked !== undefined) {
    permit(asked);
    return [asked];
  }
  const services = resourcesFor(callerOf(request), actionOf(request));
  if (services?.length === 0) permit('*');
  return services;
}

function showRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/credentials/:id',
    {
      config: { permission: { serviceOf: 'credential', action: 'read' } },
      schema: {
        tags,
        summary: 'Metadata of one',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: credentialSchema, ...refusals },
      },
    },
    async (request) => {
      const { tenantId } = callerOf(request);
      const doc = await findCredentialMetadata(deps.database, { tenantId, id: request.params.id });
      if (!doc) throw new AppError('not_found');
      permitOn(request)(doc.service);
      return viewCredential(doc);
    },
  );
}
