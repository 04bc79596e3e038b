import './http/named-schemas.ts';
import cookie from '@fastify/cookie';
import { makeReleaser } from '../shared/credentials/release/token.ts';
import type { Deps } from '../shared/runtime/deps.ts';
import { type Metrics, watchQueues } from '../shared/runtime/metrics.ts';
import { makeAuth } from './http/auth.ts';
import { identifyCallers } from './http/caller.ts';
import { takeCloudEventTypes } from './http/cloud-events.ts';
import type { Api, App } from './http/context.ts';
import { setHeaders } from './http/headers.ts';
import { observeRequests } from './http/observation.ts';
import { describeApi } from './http/openapi.ts';
import { enforcePermissions } from './http/permission.ts';
import { refuseUnknownRoutes } from './http/route-table.ts';
import { addressOf, makeServer } from './http/server.ts';
import { principalRoutes } from './routes/access/principals.ts';
import { tenantRoutes } from './routes/access/tenants.ts';
import { auditRoutes } from './routes/audit/entries.ts';
import { auditEvidenceRoutes } from './routes/audit/evidence.ts';
import { authorizationRoutes } from './routes/credentials/authorizations.ts';
import { metadataRoutes } from './routes/credentials/metadata.ts';
import { oauthRoutes } from './routes/credentials/oauth.ts';
import { releaseRoutes } from './routes/credentials/release.ts';
import { credentialRequestRoutes } from './routes/credentials/requests.ts';
import { validationRoutes } from './routes/credentials/validation.ts';
import { sharedSignalRoutes } from './routes/delivery/shared-signals.ts';
import { subscriptionActionRoutes } from './routes/delivery/subscription-actions.ts';
import { subscriptionRoutes } from './routes/delivery/subscriptions.ts';
import { intakeRoutes } from './routes/events/intake.ts';
import { parkedEventRoutes } from './routes/events/parked.ts';
import { alertSourceRoutes } from './routes/incidents/alert-sources.ts';
import { alertRoutes } from './routes/incidents/alerts.ts';
import { incidentRoutes } from './routes/incidents/cases.ts';
import { keyRotationRoutes } from './routes/keys/rotations.ts';
import { monitoringRoutes } from './routes/monitoring/health.ts';
import { complianceRoutes } from './routes/report/compliance.ts';

/** In the order in which `/openapi.json` shows them. */
const ROUTES = [
  intakeRoutes,
  parkedEventRoutes,
  authorizationRoutes,
  oauthRoutes,
  metadataRoutes,
  releaseRoutes,
  credentialRequestRoutes,
  validationRoutes,
  auditRoutes,
  principalRoutes,
  tenantRoutes,
  monitoringRoutes,
  alertRoutes,
  alertSourceRoutes,
  incidentRoutes,
  auditEvidenceRoutes,
  sharedSignalRoutes,
  subscriptionRoutes,
  subscriptionActionRoutes,
  complianceRoutes,
  keyRotationRoutes,
];

export type AppOptions = { metrics: Metrics; stopping: AbortSignal };

/** The API, ready to listen or to be injected into. Closing it waits for the requests in hand and for what they write. */
export async function makeApp(deps: Deps, { metrics, stopping }: AppOptions): Promise<App> {
  const app = makeServer(deps);
  const api: Api = {
    deps,
    metrics,
    auth: makeAuth(deps),
    releaser: makeReleaser(deps, metrics),
    publicUrl: () => deps.config.publicUrl ?? addressOf(app, deps.config),
    stopping,
  };
  takeCloudEventTypes(app);
  watchQueues(metrics, deps.hints);
  // Hooks, in the order in which a request passes them.
  observeRequests(app, api);
  setHeaders(app, deps.config);
  identifyCallers(app, api);
  enforcePermissions(app);
  refuseUnknownRoutes(app);
  await app.register(cookie);
  await describeApi(app);
  for (const routes of ROUTES) routes(app, api);
  app.addHook('onClose', () => api.releaser.idle());
  return app;
}
