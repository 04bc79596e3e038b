import { z } from 'zod';
import { changeSigning, createPrincipal, revokePrincipal } from '../../../shared/access/principal-changes.ts';
import {
  changedPrincipalSchema,
  createdPrincipalSchema,
  newPrincipalSchema,
  principalChangesSchema,
  principalSchema,
  viewPrincipal,
} from '../../../shared/access/schema.ts';
import type { Secret } from '../../../shared/platform/secret.ts';
import { listPrincipals } from '../../../shared/store/access/principals.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { addList, BY_ID } from '../../http/list-route.ts';
import type { RoutePermission } from '../../http/permission.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['administration'];
const permission: RoutePermission = { resource: 'principals', action: 'manage' };
const params = z.object({ id: z.string().max(100) });

/** `/v1/principals`: API keys of the caller's tenant. */
export function principalRoutes(app: App, api: Api): void {
  createRoute(app, api);
  listRoute(app, api);
  changeRoute(app, api);
  revokeRoute(app, api);
}

function createRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/principals',
    {
      config: { permission },
      schema: {
        tags,
        summary: 'Makes an API key',
        description: 'The key is in this reply and nowhere else. Nobody can grant more than they have.',
        body: newPrincipalSchema,
        response: { 201: createdPrincipalSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const { expiresAt, ...wanted } = request.body;
      const call = { caller: callerOf(request), actor: actorOf(request) };
      const made = await createPrincipal(deps, call, { ...wanted, expiresAt: expiresAt ? new Date(expiresAt) : null });
      reply.code(201);
      return { ...viewPrincipal(made.principal), ...shown(made.signingSecret), key: made.key };
    },
  );
}

function listRoute(app: App, { deps }: Api): void {
  addList(app, {
    path: '/v1/principals',
    permission,
    tags,
    summary: 'Lists API keys, oldest first; never the keys themselves',
    order: BY_ID,
    rows: (page) => listPrincipals(deps.database, page),
    item: principalSchema,
    view: viewPrincipal,
  });
}

function changeRoute(app: App, { deps, auth }: Api): void {
  app.patch(
    '/v1/principals/:id',
    {
      config: { permission },
      schema: {
        tags,
        summary: 'Changes whether requests of an API key must be signed',
        description: 'At once in this process, within 5 seconds in every other.',
        params,
        body: principalChangesSchema,
        response: { 200: changedPrincipalSchema, ...refusals },
      },
    },
    async (request) => {
      const call = { caller: callerOf(request), actor: actorOf(request) };
      const { principal, signingSecret } = await changeSigning(deps, call, { ...request.params, ...request.body });
      auth.forget(principal.keyHash);
      return { ...viewPrincipal(principal), ...shown(signingSecret) };
    },
  );
}

/** The part of a reply that shows a new signing secret; empty where there is none. */
function shown(signingSecret: Secret | null) {
  return signingSecret ? { signingSecret: signingSecret.reveal() } : {};
}

function revokeRoute(app: App, { deps, auth }: Api): void {
  app.delete(
    '/v1/principals/:id',
    {
      config: { permission },
      schema: {
        tags,
        summary: 'Revokes an API key',
        description: 'At once in this process, within 5 seconds in every other. Revoking twice is the same.',
        params,
        response: { 200: principalSchema, ...refusals },
      },
    },
    async (request) => {
      const call = { caller: callerOf(request), actor: actorOf(request) };
      const principal = await revokePrincipal(deps, call, request.params.id);
      auth.forget(principal.keyHash);
      return viewPrincipal(principal);
    },
  );
}
