import { z } from 'zod';
import { VALIDATE_ACTION, validateCredential } from '../../../shared/credentials/validate.ts';
import { validationSchema } from '../../../shared/credentials/view.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

/** `POST /v1/credentials/{id}/validate`. */
export function validationRoutes(app: App, { deps, stopping }: Api): void {
  app.post(
    '/v1/credentials/:id/validate',
    {
      config: { permission: { serviceOf: 'credential', action: VALIDATE_ACTION } },
      schema: {
        tags: ['credentials'],
        summary: 'Asks whether its secret is still good',
        description:
          'Form, expiry and the word of the provider, each by itself. Nothing is changed; that it was asked is on the log.',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: validationSchema, ...refusals },
      },
    },
    async (request) => {
      const call = { principal: callerOf(request), actor: actorOf(request), stopping };
      return validateCredential(deps, call, request.params.id);
    },
  );
}
