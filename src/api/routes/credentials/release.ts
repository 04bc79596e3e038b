import { z } from 'zod';
import { RELEASE_ACTION } from '../../../shared/credentials/release/token.ts';
import { releaseSchema } from '../../../shared/credentials/view.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

/** `GET /v1/credentials/{id}/token`. */
export function releaseRoutes(app: App, { releaser, stopping }: Api): void {
  app.get(
    '/v1/credentials/:id/token',
    {
      config: { permission: { serviceOf: 'credential', action: RELEASE_ACTION } },
      schema: {
        tags: ['credentials'],
        summary: 'Releases a valid access token or key',
        description:
          'Refreshes it first if needed. The access is on the audit log before the reply. With the `ETag` of an earlier reply as ' +
          '`If-None-Match` it answers 304 while that secret is still the one to use: then nothing is released, and nothing recorded.',
        params: z.object({ id: z.string().max(100) }),
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
