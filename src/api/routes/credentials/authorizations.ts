import type { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { FLOW_MS, hashOf } from '../../../shared/credentials/exchange/authorization-flow.ts';
import {
  authorizationSchema,
  newAuthorizationSchema,
} from '../../../shared/credentials/exchange/authorization-schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import type { Deps } from '../../../shared/runtime/deps.ts';
import type { PrincipalDoc } from '../../../shared/store/access/principals.ts';
import { makeEntry } from '../../../shared/store/entry.ts';
import type { AuthorizationDoc } from '../../../shared/store/lifecycle/authorizations.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

/** `POST /v1/authorizations`: begins the way of a person to a provider and back. */
export function authorizationRoutes(app: App, api: Api): void {
  const { deps } = api;
  app.post(
    '/v1/authorizations',
    {
      schema: {
        tags: ['authorizations'],
        summary: 'Begins an authorization by a person',
        description: 'PKCE (S256); the state is good for 5 minutes, one browser and one use.',
        body: newAuthorizationSchema,
        response: { 201: authorizationSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const principal = callerOf(request);
      const { service, subject } = request.body;
      requirePermission(principal, service, 'connect');
      const provider = deps.providers.get(service);
      if (!provider.authorizationUrl) {
        throw new AppError('provider_unsupported', {
          detail: `${provider.displayName} has no authorization by a person; send credential.import.requested.`,
        });
      }
      const { state, authorization } = await draft(deps, principal, request.body, provider.defaultScopes);
      const { tenantId } = principal;
      const happening = { tenantId, type: 'authorization.requested', actor: actorOf(request), service, subject };
      await deps.commit({
        operations: [{ in: 'authorizations', insert: authorization }],
        entries: [makeEntry(deps, happening)],
      });
      reply.code(201);
      return {
        authorizationUrl: `${api.publicUrl()}/v1/oauth/start/${state}`,
        state,
        expiresAt: authorization.expiresAt.toISOString(),
      };
    },
  );
}

type Wanted = z.infer<typeof newAuthorizationSchema>;

/** A new flow and its state, of which only the hash is kept. */
async function draft(
  { clock, random, sealer }: Pick<Deps, 'clock' | 'random' | 'sealer'>,
  principal: PrincipalDoc,
  { service, subject, scopes, resource, redirectUri }: Wanted,
  defaultScopes: readonly string[],
): Promise<{ state: string; authorization: AuthorizationDoc }> {
  const state = random.bytes(32).toString('base64url');
  const _id = hashOf(state);
  const { tenantId } = principal;
  const owner = { tenantId, objectId: _id, generation: 1 };
  const sealed = await sealer.seal(random.bytes(32).toString('base64url'), owner);
  const now = clock.now();
  const authorization: AuthorizationDoc = {
    _id,
    tenantId,
    principalId: principal._id,
    service,
    subject,
    scopes: scopes ?? [...defaultScopes],
    resource: resource ?? null,
    returnTo: redirectUri ?? null,
    // Short-lived, so always beside the document, whatever store keeps credentials.
    codeVerifier: { store: 'mongodb', ...sealed },
    browserHash: null,
    usedAt: null,
    eventId: null,
    createdAt: new Date(now),
    expiresAt: new Date(now + FLOW_MS),
  };
  return { state, authorization };
}
