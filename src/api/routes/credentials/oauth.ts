import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import {
  assertBrowser,
  awaitEvent,
  bindBrowser,
  completeAuthorization,
  FLOW_MS,
  findAuthorization,
  providerUrl,
} from '../../../shared/credentials/exchange/authorization-flow.ts';
import { callbackQuery } from '../../../shared/credentials/exchange/authorization-schema.ts';
import { currentTraceparent } from '../../../shared/platform/traceparent.ts';
import type { AuthorizationDoc } from '../../../shared/store/lifecycle/authorizations.ts';
import { type Api, type App, originOf } from '../../http/context.ts';
import { toHttpError } from '../../http/problem.ts';
import { type Outcome, outcomeOfError, outcomeOfEvent, PAGE_HEADERS, renderOutcome } from './outcome-page.ts';

const tags = ['authorizations'];
const page = { description: 'A page that says how it went', content: { 'text/html': { schema: z.string() } } };
const redirect = z.null().meta({ description: 'On to the provider or back to the app' });

/** The person's way: `GET /v1/oauth/start/{state}` out to the provider, `GET /v1/oauth/callback` back. */
export function oauthRoutes(app: App, api: Api): void {
  startRoute(app, api);
  callbackRoute(app, api);
}

function startRoute(app: App, api: Api): void {
  const { deps } = api;
  app.get(
    '/v1/oauth/start/:state',
    {
      config: { open: true, secretPath: true },
      schema: {
        tags,
        summary: 'Sends a browser to the provider, and ties the flow to it',
        params: z.object({ state: z.string().max(200) }),
        response: { 302: redirect, '4xx': page, '5xx': page },
      },
    },
    async (request, reply) => {
      const { state } = request.params;
      try {
        const doc = await findAuthorization(deps, state);
        const flow = cookieOf(api, doc);
        const cookie = request.cookies[flow.name] ?? deps.random.bytes(32).toString('base64url');
        await bindBrowser(deps, doc, cookie);
        reply.setCookie(flow.name, cookie, { ...flow.options, maxAge: FLOW_MS / 1000 });
        return reply.redirect(await providerUrl(deps, doc, { state, redirectUri: redirectUri(api) }), 302);
      } catch (error) {
        return sendPage(reply, failed(api, request, error));
      }
    },
  );
}

function callbackRoute(app: App, api: Api): void {
  const { deps } = api;
  app.get(
    '/v1/oauth/callback',
    {
      config: { open: true },
      schema: {
        tags,
        summary: "The provider's redirect",
        querystring: callbackQuery,
        response: { 200: page, 303: redirect, '4xx': page, '5xx': page },
      },
    },
    async (request, reply) => {
      let doc: AuthorizationDoc | null = null;
      try {
        const found = await findAuthorization(deps, request.query.state);
        const flow = cookieOf(api, found);
        assertBrowser(found, request.cookies[flow.name]);
        doc = found;
        reply.clearCookie(flow.name, flow.options);
        const answer = { query: request.query, redirectUri: redirectUri(api), origin: originOf(request) };
        const eventId = await completeAuthorization(deps, doc, { ...answer, traceparent: currentTraceparent() });
        const event = await awaitEvent(deps, { tenantId: doc.tenantId, id: eventId }, api.stopping);
        return goBack(reply, doc, outcomeOfEvent(event));
      } catch (error) {
        return goBack(reply, doc, failed(api, request, error));
      }
    },
  );
}

function redirectUri(api: Api): string {
  return `${api.publicUrl()}/v1/oauth/callback`;
}

function failed({ deps }: Api, request: FastifyRequest, thrown: unknown): Outcome {
  const error = toHttpError(thrown);
  if (error.status >= 500) deps.log.error({ err: error, requestId: request.id }, 'authorization failed');
  return outcomeOfError(error);
}

/** Nobody is redirected on the word of a state that does not hold: `doc` is null until state and browser are checked. */
function goBack(reply: FastifyReply, doc: AuthorizationDoc | null, outcome: Outcome) {
  if (!doc?.returnTo) return sendPage(reply, outcome);
  const url = new URL(doc.returnTo);
  url.searchParams.set('status', outcome.status);
  if (outcome.eventId) url.searchParams.set('event_id', outcome.eventId);
  if (outcome.credentialId) url.searchParams.set('credential_id', outcome.credentialId);
  if (outcome.code) url.searchParams.set('error', outcome.code);
  return reply.redirect(url.href, 303);
}

function sendPage(reply: FastifyReply, outcome: Outcome) {
  return reply
    .code(outcome.httpStatus)
    .headers(PAGE_HEADERS)
    .type('text/html; charset=utf-8')
    .send(renderOutcome(outcome));
}

/** One cookie per flow, so that several can be under way in one browser. */
function cookieOf(api: Api, doc: AuthorizationDoc) {
  const url = new URL(api.publicUrl());
  const path = `${url.pathname.replace(/\/$/, '')}/v1/oauth`;
  const secure = url.protocol === 'https:';
  const name = `${secure ? '__Secure-' : ''}keyturn-flow-${doc._id.slice(0, 16)}`;
  return { name, options: { path, secure, httpOnly: true, sameSite: 'lax' as const } };
}
