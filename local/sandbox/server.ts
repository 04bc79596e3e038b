import { type Context, Provider, type StoredToken } from 'oidc-provider/lib/provider.js';
import { serveOnLoopback } from '../tools/loopback.ts';
import { freePort } from '../tools/ports.ts';
import { consentPages } from './consent.ts';
import { type FailureControl, tokenFailures } from './failures.ts';
import { providerConfiguration, type SandboxOptions } from './settings.ts';
import { createStore } from './store.ts';

/** One refusal of the token endpoint: `reason` is the server's own word, e.g. `refresh token already used`. */
export type GrantError = { grantType: string; error: string; reason: string; clientId: string };

/** One grant that ended: by whom is told by `route`, `revocation` or `token` (a refresh token was used twice). */
export type GrantRevoked = { grantId: string; route: string };

/** What the authorization server believes about a token. */
export type TokenBelief = {
  kind: 'access' | 'refresh';
  active: boolean;
  /** A refresh token that was exchanged for a newer one. */
  consumed: boolean;
  grantId: string | null;
  scope: string;
  /** Milliseconds since the epoch. */
  expiresAt: number | null;
};

/** A running authorization server, with what it saw. */
export type Sandbox = Pick<FailureControl, 'setFailure' | 'setLatency'> & {
  readonly issuer: string;
  readonly port: number;
  readonly counts: { exchanges: number; refreshes: number; clientCredentials: number };
  readonly grantErrors: GrantError[];
  readonly grantsRevoked: GrantRevoked[];
  /** Null: it never heard of it, or has forgotten it since it was revoked. */
  findToken(value: string): Promise<TokenBelief | null>;
  /** From now on people do not grant these scopes. */
  withholdScopes(scopes: readonly string[]): void;
  stop(): Promise<void>;
};

/** Starts oidc-provider on loopback. Never in production: it lets everyone in. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const port = await freePort(options.port);
  const issuer = `http://127.0.0.1:${port}`;
  const store = createStore(options.stateFile);
  const provider = new Provider(issuer, { ...(await providerConfiguration(options, store)) });
  const failures = tokenFailures();
  let withheld: readonly string[] = [];
  provider.use(failures.middleware);
  provider.use(consentPages(provider, { autoConsent: options.autoConsent ?? false, withheldScopes: () => withheld }));
  const record = watch(provider);
  const { stop } = await serveOnLoopback(provider.callback(), { port, keepAliveTimeout: 60_000 });
  return {
    issuer,
    port,
    ...record,
    setFailure: failures.setFailure,
    setLatency: failures.setLatency,
    findToken: (value) => findToken(provider, value),
    withholdScopes: (scopes) => {
      withheld = scopes;
    },
    async stop() {
      await stop();
      store.flush();
    },
  };
}

function watch(provider: Provider): Pick<Sandbox, 'counts' | 'grantErrors' | 'grantsRevoked'> {
  const counts = { exchanges: 0, refreshes: 0, clientCredentials: 0 };
  const grantErrors: GrantError[] = [];
  const grantsRevoked: GrantRevoked[] = [];
  provider.on('grant.success', (ctx) => {
    const type = grantType(ctx);
    if (type === 'authorization_code') counts.exchanges += 1;
    if (type === 'refresh_token') counts.refreshes += 1;
    if (type === 'client_credentials') counts.clientCredentials += 1;
  });
  provider.on('grant.error', (ctx, error: { error: string; error_description?: string; error_detail?: string }) => {
    const reason = error.error_detail ?? error.error_description ?? '';
    const clientId = ctx.oidc?.client?.clientId ?? '';
    grantErrors.push({ grantType: grantType(ctx), error: error.error, reason, clientId });
  });
  provider.on('grant.revoked', (ctx, grantId: string) => {
    grantsRevoked.push({ grantId, route: ctx.oidc?.route ?? '' });
  });
  return { counts, grantErrors, grantsRevoked };
}

function grantType(ctx: Context): string {
  return String(ctx.oidc?.params?.grant_type ?? '');
}

async function findToken(provider: Provider, value: string): Promise<TokenBelief | null> {
  const access = await provider.AccessToken.find(value, { ignoreExpiration: true });
  if (access !== undefined) return belief('access', access);
  const refresh = await provider.RefreshToken.find(value, { ignoreExpiration: true });
  return refresh === undefined ? null : belief('refresh', refresh);
}

function belief(kind: TokenBelief['kind'], token: StoredToken): TokenBelief {
  const consumed = token.consumed !== undefined;
  return {
    kind,
    active: !token.isExpired && !consumed,
    consumed,
    grantId: token.grantId ?? null,
    scope: token.scope ?? '',
    expiresAt: token.exp === undefined ? null : token.exp * 1000,
  };
}
