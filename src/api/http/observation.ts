import type { Api, App } from './context.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** From `clock.now()`, milliseconds. */
    startedAt: number;
  }
}

/** Counts and logs every request once it is answered. Add it before other hooks, so that their time counts. */
export function observeRequests(app: App, { deps, metrics }: Pick<Api, 'deps' | 'metrics'>): void {
  app.decorateRequest('startedAt', 0);
  app.addHook('onRequest', (request, _reply, done) => {
    request.startedAt = deps.clock.now();
    done();
  });
  app.addHook('onResponse', async (request, reply) => {
    const { id: requestId, method, principal, startedAt } = request;
    const durationMs = deps.clock.now() - startedAt;
    // The route, never the URL: a query may hold a code or a state.
    const route = request.routeOptions.url ?? 'unknown';
    const status = reply.statusCode;
    metrics.httpSeconds.observe({ method, route, status }, durationMs / 1_000);
    deps.log.debug({ requestId, method, route, status, durationMs, principalId: principal?._id }, 'request');
  });
}
