import { type Api, type App, isProtected } from './context.ts';
import { makeRateLimit } from './rate-limit.ts';
import { makeSignatureCheck } from './request-signature.ts';

/**
 * Settles who calls before anything of the body is read: the key or JWT, then the rate limit, then, where a key must sign, the
 * signature over the body's bytes before they are parsed.
 */
export function identifyCallers(app: App, { deps, auth }: Pick<Api, 'deps' | 'auth'>): void {
  const limitRate = makeRateLimit(deps);
  app.decorateRequest('principal', null);
  app.addHook('onRequest', async (request, reply) => {
    const { url, config } = request.routeOptions;
    if (!isProtected(url, config)) return;
    request.principal = await auth.authenticate(request);
    limitRate(request.principal._id, reply);
  });
  app.addHook('preParsing', makeSignatureCheck(deps));
}
