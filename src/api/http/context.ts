import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Releaser } from '../../shared/credentials/release/release.ts';
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

/** What the routes are made of. */
export type Api = {
  deps: Deps;
  metrics: Metrics;
  auth: Auth;
  releaser: Releaser;
  /** How browsers and providers reach this API, without a slash at the end. */
  publicUrl(): string;
  /** Aborts when the process begins to stop: what waits gives up, `/readyz` says no. */
  stopping: AbortSignal;
};

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls. Null on routes that are open to anyone. */
    principal: PrincipalDoc | null;
    /** From `clock.now()`, milliseconds. */
    startedAt: number;
  }
  interface FastifyContextConfig {
    /** No API key is asked for. */
    open?: true;
    /** The path holds a bearer value: it is never repeated. */
    secretPath?: true;
  }
}

/** The caller of a route that asks for an API key. */
export function callerOf(request: FastifyRequest): PrincipalDoc {
  return request.principal!;
}

/** From where a request came, as it is kept on the record. */
export function originOf(request: FastifyRequest): Origin {
  return { ip: request.ip, userAgent: request.headers['user-agent']?.slice(0, 255) ?? null };
}

/** The caller as the actor of an audit entry. */
export function actorOf(request: FastifyRequest) {
  return { kind: 'principal' as const, id: callerOf(request)._id, ...originOf(request) };
}

/** Who sends, from where, as part of which trace. */
export function senderOf(request: FastifyRequest): Sender {
  return { principal: callerOf(request), origin: originOf(request), traceparent: currentTraceparent() };
}
