import { z } from 'zod';
import { makePrincipal } from '../../../shared/access/api-keys.ts';
import { type Action, may, requirePermission } from '../../../shared/access/permissions.ts';
import {
  changedPrincipalSchema,
  createdPrincipalSchema,
  newPrincipalSchema,
  principalChangesSchema,
  principalSchema,
  viewPrincipal,
} from '../../../shared/access/schema.ts';
import { makeSigningSecret } from '../../../shared/keys/signing-secret.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import type { PrincipalDoc } from '../../../shared/store/access/principals.ts';
import { makeEntry } from '../../../shared/store/entry.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { pageOf, pageQuery, placeOf, toPage } from '../../http/paging.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['administration'];
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
      schema: {
        tags,
        summary: 'Makes an API key',
        description: 'The key is in this reply and nowhere else. Nobody can grant more than they have.',
        body: newPrincipalSchema,
        response: { 201: createdPrincipalSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requirePermission(caller, 'principals', 'manage');
      const { name, permissions, expiresAt, requireSignature } = request.body;
      assertMayGrant(caller, permissions);
      const { tenantId } = caller;
      const wanted = { tenantId, name, permissions, expiresAt: expiresAt ? new Date(expiresAt) : null };
      const { principal: unsigned, key } = makePrincipal(deps, wanted);
      const { secret, signing } = await signingOf(deps, unsigned, requireSignature);
      const principal = { ...unsigned, signing };
      const detail = { principalId: principal._id, permissions: permissions.join(' ') };
      await deps.commit({
        operations: [{ in: 'principals', insert: principal }],
        entries: [makeEntry(deps, { tenantId, type: 'principal.created', actor: actorOf(request), detail })],
      });
      reply.code(201);
      return { ...viewPrincipal(principal), ...secret, key };
    },
  );
}

/** A caller cannot make a key that may do what the caller may not. */
function assertMayGrant(caller: PrincipalDoc, permissions: string[]): void {
  const excess = permissions.find((permission) => {
    const [resource, action] = permission.split(':') as [string, Action];
    return !may(caller, resource, action);
  });
  if (excess === undefined) return;
  throw new AppError('permission_denied', { detail: `You cannot grant ${excess}, which you do not have.` });
}

function listRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/principals',
    {
      schema: {
        tags,
        summary: 'Lists API keys, oldest first; never the keys themselves',
        querystring: pageQuery,
        response: { 200: pageOf(principalSchema), ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'principals', 'manage');
      const after = placeOf(request.query.cursor);
      const { limit } = request.query;
      const where = { tenantId: caller.tenantId, ...(after !== undefined && { _id: { $gt: after } }) };
      const found = deps.database.collection('principals').find(where).sort({ _id: 1 });
      const rows = await found.limit(limit + 1).toArray();
      return toPage(rows, limit, { keyOf: (doc) => doc._id, view: viewPrincipal });
    },
  );
}

/** A new secret to sign with, or none; `secret` is the part of the reply that shows it. */
async function signingOf(deps: Api['deps'], principal: PrincipalDoc, isRequired: boolean) {
  if (!isRequired) return { signing: null, secret: {} };
  const { secret, signing } = await makeSigningSecret(deps, principal);
  return { signing, secret: { signingSecret: secret.reveal() } };
}

function changeRoute(app: App, { deps, auth }: Api): void {
  app.patch(
    '/v1/principals/:id',
    {
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
      const caller = callerOf(request);
      requirePermission(caller, 'principals', 'manage');
      const { tenantId } = caller;
      const { requireSignature } = request.body;
      const where = { _id: request.params.id, tenantId };
      const doc = await deps.database.collection('principals').findOne(where);
      if (!doc) throw new AppError('not_found');
      // Whoever may change a key may act as it: nobody gains what they do not have.
      assertMayGrant(caller, doc.permissions);
      const { secret, signing } = await signingOf(deps, doc, requireSignature);
      const detail = { principalId: doc._id, requireSignature };
      const outcome = await deps.commit({
        operations: [{ in: 'principals', update: { ...where, revokedAt: null }, set: { $set: { signing } } }],
        entries: [makeEntry(deps, { tenantId, type: 'principal.changed', actor: actorOf(request), detail })],
      });
      if (outcome !== 'committed') throw new AppError('conflict', { detail: 'The key was revoked.' });
      auth.forget(doc.keyHash);
      return { ...viewPrincipal({ ...doc, signing }), ...secret };
    },
  );
}

function revokeRoute(app: App, { deps, auth }: Api): void {
  app.delete(
    '/v1/principals/:id',
    {
      schema: {
        tags,
        summary: 'Revokes an API key',
        description: 'At once in this process, within 5 seconds in every other. Revoking twice is the same.',
        params,
        response: { 200: principalSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'principals', 'manage');
      const { tenantId } = caller;
      const where = { _id: request.params.id, tenantId };
      const principals = deps.database.collection('principals');
      const doc = await principals.findOne(where);
      if (!doc) throw new AppError('not_found');
      if (doc.revokedAt) return viewPrincipal(doc);
      const revokedAt = new Date(deps.clock.now());
      const detail = { principalId: doc._id };
      await deps.commit({
        operations: [{ in: 'principals', update: { ...where, revokedAt: null }, set: { $set: { revokedAt } } }],
        entries: [makeEntry(deps, { tenantId, type: 'principal.revoked', actor: actorOf(request), detail })],
      });
      auth.forget(doc.keyHash);
      return viewPrincipal((await principals.findOne(where)) ?? doc);
    },
  );
}
