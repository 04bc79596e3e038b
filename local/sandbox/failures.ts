import type { Context, Middleware } from 'oidc-provider/lib/provider.js';

/**
 * How the token endpoint fails. `lost`: the request is carried out, and its reply never arrives. `hang`: no answer.
 * `reset`: the connection is cut before anything happens.
 */
export type TokenFailure = 'unavailable' | 'throttled' | 'html' | 'hang' | 'reset' | 'lost';

export type FailureControl = {
  middleware: Middleware;
  /** For the next `times` calls, by default until told otherwise. Null: no failure. */
  setFailure(failure: TokenFailure | null, times?: number): void;
  /** Holds every reply of the token endpoint back. Milliseconds. */
  setLatency(ms: number): void;
};

type Failure = (ctx: Context, next: () => Promise<void>) => Promise<void>;

const FAILURES: Record<TokenFailure, Failure> = {
  unavailable: answer(503, 'application/json', '{"error":"temporarily_unavailable"}'),
  throttled: async (ctx, next) => {
    ctx.set('retry-after', '1');
    await answer(429, 'application/json', '{"error":"slow_down"}')(ctx, next);
  },
  html: answer(502, 'text/html', '<html><body><h1>502 Bad Gateway</h1></body></html>'),
  hang: async (ctx) => {
    ctx.respond = false;
    await new Promise((resolve) => ctx.req.socket.once('close', resolve));
  },
  reset: async (ctx) => cut(ctx),
  lost: async (ctx, next) => {
    await next();
    cut(ctx);
  },
};

/** A middleware before oidc-provider that makes its token endpoint fail on demand. */
export function tokenFailures(): FailureControl {
  let failure: TokenFailure | null = null;
  let left = 0;
  let latencyMs = 0;
  return {
    middleware: async (ctx, next) => {
      if (ctx.path !== '/token') return next();
      const chosen = left > 0 ? failure : null;
      if (chosen !== null) left -= 1;
      await (chosen === null ? next() : FAILURES[chosen](ctx, next));
      if (latencyMs > 0) await new Promise((resolve) => setTimeout(resolve, latencyMs));
    },
    setFailure: (next, times = Number.POSITIVE_INFINITY) => {
      failure = next;
      left = times;
    },
    setLatency: (ms) => {
      latencyMs = ms;
    },
  };
}

function answer(status: number, type: string, body: string): Failure {
  return async (ctx) => {
    ctx.status = status;
    ctx.type = type;
    ctx.body = body;
  };
}

function cut(ctx: Context): void {
  ctx.respond = false;
  ctx.req.socket.destroy();
}
