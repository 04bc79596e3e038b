import type { Config } from '../../shared/platform/config/parse.ts';
import type { App } from './context.ts';

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

const STRICT_CSP = "default-src 'none'; frame-ancestors 'none'";

/** Headers of every reply: nothing is cached, framed or sniffed, and it has an id that is also in the log. */
export function setHeaders(app: App, { publicUrl }: Pick<Config, 'publicUrl'>): void {
  const isHttps = publicUrl?.startsWith('https:');
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(HEADERS);
    reply.header('x-request-id', request.id);
    // Swagger UI brings a policy of its own.
    if (!request.routeOptions.url?.startsWith('/docs')) reply.header('content-security-policy', STRICT_CSP);
    if (isHttps) reply.header('strict-transport-security', 'max-age=31536000');
    done();
  });
}
