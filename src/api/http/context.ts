import type { IncomingMessage, ServerResponse } from 'node:http';
import type {
  FastifyBaseLogger,
  FastifyContextConfig,
  FastifyInstance,
  FastifyRequest,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Releaser } from '../../shared/credentials/release/token.ts';
import type { Sender } from '../../shared/events/accept.ts';
import { currentTraceparent } from '../../shared/platform/traceparent.ts';
import type { Deps } from '../../shared/runtime/deps.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { PrincipalDoc } from '../../shared/store/access/principals.ts';
import type { Origin } from '../../shared/store/base/document.ts';
import type { Auth } from './auth.ts';

export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** Handed to every route. */
export type Api = {
  deps: Deps;
  metrics: Metrics;
  auth: Auth;
  releaser: Releaser;
  /** How browsers and providers reach this API, without a slash at the end. */
  publicUrl(): string;
  /** Aborts when the process begins to stop: requests that wait give up, and `/readyz` says no. */
  stopping: AbortSignal;
};

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls. Null on routes that are open to anyone. */
    principal: PrincipalDoc | null;
  }
  interface FastifyContextConfig {
    /** No API key is asked for. */
    open?: true;
    /** The path holds a bearer value: it is never repeated. */
    secretPath?: true;
  }
}

/** Whether a route asks for an API key or a JWT: all of `/v1` do, unless they say that they are open. */
export function isProtected(url: string | undefined, config: FastifyContextConfig | undefined): boolean {
  return url?.startsWith('/v1/') === true && !config?.open;
}

/** The caller of a route that is protected. */
export function callerOf(request: FastifyRequest): PrincipalDoc {
  return request.principal!;
}

/** Where a request came from, as it is put on the record. */
export function originOf(request: FastifyRequest): Origin {
  return { ip: request.ip, userAgent: request.headers['user-agent']?.slice(0, 255) ?? null };
}

/** The caller as the actor of an audit entry. */
export function actorOf(request: FastifyRequest) {
  return { kind: 'principal' as const, id: callerOf(request)._id, ...originOf(request) };
}

/** The caller as the sender of events, with the trace that the request is part of. */
export function senderOf(request: FastifyRequest): Sender {
  return { principal: callerOf(request), origin: originOf(request), traceparent: currentTraceparent() };
}
