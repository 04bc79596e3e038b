import {
  authorizationSchema,
  newAuthorizationSchema,
} from '../../../shared/credentials/exchange/authorization-schema.ts';
import { beginAuthorization } from '../../../shared/credentials/exchange/authorization-start.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

/** `POST /v1/authorizations`: begins the way of a person to a provider and back. */
export function authorizationRoutes(app: App, { deps, publicUrl }: Api): void {
  app.post(
    '/v1/authorizations',
    {
      config: { permission: { serviceOf: 'body', action: 'connect' } },
      schema: {
        tags: ['authorizations'],
        summary: 'Begins an authorization by a person',
        description: 'PKCE (S256); the state is good for 5 minutes, one browser and one use.',
        body: newAuthorizationSchema,
        response: { 201: authorizationSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const call = { principal: callerOf(request), actor: actorOf(request) };
      const { state, expiresAt } = await beginAuthorization(deps, call, request.body);
      reply.code(201);
      return { authorizationUrl: `${publicUrl()}/v1/oauth/start/${state}`, state, expiresAt: expiresAt.toISOString() };
    },
  );
}
