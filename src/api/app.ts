import type { AddressInfo } from 'node:net';
import cookie from '@fastify/cookie';
import { fastify } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { makeReleaser } from '../shared/credentials/release/release.ts';
import type { Deps } from '../shared/runtime/deps.ts';
import { type Metrics, watchQueues } from '../shared/runtime/metrics.ts';
import { makeAuth } from './http/auth.ts';
import { takeCloudEventTypes } from './http/cloud-events.ts';
import type { Api, App } from './http/context.ts';
import { describeApi } from './http/openapi.ts';
import { cutOff, sendProblem } from './http/problem.ts';
import { makeRateLimit } from './http/rate-limit.ts';
import { makeSignatureCheck } from './http/request-signature.ts';
import { refuseUnknownRoutes } from './http/route-table.ts';
import { keyRoutes } from './routes/access/keys.ts';
import { principalRoutes } from './routes/access/principals.ts';
import { tenantRoutes } from './routes/access/tenants.ts';
import { auditRoutes } from './routes/audit/entries.ts';
import { auditEvidenceRoutes } from './routes/audit/evidence.ts';
import { authorizationRoutes } from './routes/credentials/authorizations.ts';
import { credentialRoutes } from './routes/credentials/credentials.ts';
import { oauthRoutes } from './routes/credentials/oauth.ts';
import { validationRoutes } from './routes/credentials/validation.ts';
import { subscriptionRoutes } from './routes/delivery/subscriptions.ts';
import { eventRoutes } from './routes/events/events.ts';
import { parkedEventRoutes } from './routes/events/parked.ts';
import { alertSourceRoutes } from './routes/incidents/alert-sources.ts';
import { alertRoutes } from './routes/incidents/alerts.ts';
import { incidentRoutes } from './routes/incidents/incidents.ts';
import { healthRoutes } from './routes/operation/health.ts';
import { reportRoutes } from './routes/operation/reports.ts';

const ROUTES = [
  eventRoutes,
  parkedEventRoutes,
  authorizationRoutes,
  oauthRoutes,
  credentialRoutes,
  validationRoutes,
  auditRoutes,
  principalRoutes,
  tenantRoutes,
  healthRoutes,
  alertRoutes,
  alertSourceRoutes,
  incidentRoutes,
  auditEvidenceRoutes,
  subscriptionRoutes,
  reportRoutes,
  keyRoutes,
];

const MAX_BODY_BYTES = 256 * 1024;

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

const STRICT_CSP = "default-src 'none'; frame-ancestors 'none'";

export type AppOptions = { metrics: Metrics; stopping: AbortSignal };

/** The API, ready to listen or to be injected into. Closing it waits for the requests in hand and for what they write. */
export async function makeApp(deps: Deps, { metrics, stopping }: AppOptions): Promise<App> {
  const { config } = deps;
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    trustProxy: config.trustedProxies.length > 0 ? config.trustedProxies : false,
    genReqId: () => `req_${deps.random.bytes(12).toString('base64url')}`,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    requestTimeout: 30_000,
    routerOptions: { maxParamLength: 300, ignoreTrailingSlash: true },
    clientErrorHandler: cutOff,
    frameworkErrors: (error, request, reply) => void sendProblem(deps.log, error, request, reply),
  }).withTypeProvider<ZodTypeProvider>() as unknown as App;
  const api: Api = {
    deps,
    metrics,
    auth: makeAuth(deps),
    releaser: makeReleaser(deps, metrics),
    publicUrl: () => config.publicUrl ?? addressOf(app, config),
    stopping,
  };
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.removeContentTypeParser('text/plain');
  takeCloudEventTypes(app);
  watchQueues(metrics, deps.hints);
  addHooks(app, api);
  app.setErrorHandler((error, request, reply) => sendProblem(deps.log, error, request, reply));
  refuseUnknownRoutes(app);
  await app.register(cookie);
  await describeApi(app);
  for (const routes of ROUTES) routes(app, api);
  app.addHook('onClose', () => api.releaser.idle());
  return app;
}

function addHooks(app: App, { deps, auth, metrics }: Api): void {
  const isHttps = deps.config.publicUrl?.startsWith('https:');
  const limitRate = makeRateLimit(deps);
  app.decorateRequest('principal', null);
  app.decorateRequest('startedAt', 0);

  app.addHook('onRequest', async (request, reply) => {
    request.startedAt = deps.clock.now();
    const { config, url } = request.routeOptions;
    reply.headers(HEADERS);
    reply.header('x-request-id', request.id);
    // Swagger UI brings a policy of its own.
    if (!url?.startsWith('/docs')) reply.header('content-security-policy', STRICT_CSP);
    if (isHttps) reply.header('strict-transport-security', 'max-age=31536000');
    if (!url?.startsWith('/v1/') || config.open) return;
    request.principal = await auth.authenticate(request);
    limitRate(request.principal._id, reply);
  });

  app.addHook('preParsing', makeSignatureCheck(deps));

  app.addHook('onResponse', async (request, reply) => {
    const durationMs = deps.clock.now() - request.startedAt;
    const route = request.routeOptions.url ?? 'unknown';
    const { method } = request;
    metrics.httpSeconds.observe({ method, route, status: reply.statusCode }, durationMs / 1_000);
    // The route, never the URL: a query may hold a code or a state.
    const { id: requestId, principal } = request;
    const line = { requestId, method, route, status: reply.statusCode, durationMs, principalId: principal?._id };
    deps.log.debug(line, 'request');
  });
}

/** Where this process itself listens: the configured address, with the port that it got. */
function addressOf(app: App, { host, port }: Deps['config']): string {
  const address = app.server.address() as AddressInfo | null;
  const shown = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `http://${shown}:${address?.port ?? port}`;
}
