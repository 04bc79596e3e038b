import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import type { SandboxStore } from './store.ts';

const DAY_S = 24 * 60 * 60;

/** What oidc-provider knows of one client (RFC 7591 §2). */
export type SandboxClient = {
  clientId: string;
  clientSecret?: string;
  redirectUris: string[];
  /** RFC 7591 §2; `client_secret_basic` unless told. */
  authMethod?: 'client_secret_basic' | 'client_secret_post' | 'none';
};

/** Options of the sandbox authorization server. */
export type SandboxOptions = {
  /** 0 or absent: a free one. */
  port?: number;
  clients: SandboxClient[];
  accessTokenTtlS?: number;
  refreshTokenTtlS?: number;
  /** A new refresh token with every refresh; reuse of an old one ends the grant (RFC 9700 §4.14). */
  rotateRefreshToken?: boolean;
  requirePkce?: boolean;
  /** Consents without a person. Otherwise a page asks. */
  autoConsent?: boolean;
  /** Scopes beside `openid` and `offline_access`. */
  scopes?: string[];
  /** Keeps grants and tokens over a restart. */
  stateFile?: string;
};

/** The configuration of oidc-provider for `options`. */
export async function providerConfiguration(options: SandboxOptions, store: SandboxStore): Promise<object> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 });
  const scopes = options.scopes ?? ['read', 'write', 'admin'];
  return {
    adapter: store.adapter,
    clients: options.clients.map(clientMetadata),
    clientBasedCORS: () => false,
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
    scopes: ['openid', 'offline_access', ...scopes],
    pkce: { required: () => options.requirePkce ?? true },
    rotateRefreshToken: options.rotateRefreshToken ?? true,
    issueRefreshToken: async (_: unknown, client: { grantTypeAllowed(type: string): boolean }) =>
      client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}` },
    ttl: lifetimes(options),
    features: features(scopes),
    renderError: (ctx: { type: string; body: string }, out: Record<string, string>) => {
      ctx.type = 'text/plain';
      ctx.body = `SANDBOX: ${out.error}: ${out.error_description ?? ''}`;
    },
  };
}

function clientMetadata(client: SandboxClient): object {
  return {
    client_id: client.clientId,
    ...(client.clientSecret !== undefined && { client_secret: client.clientSecret }),
    redirect_uris: client.redirectUris,
    response_types: ['code'],
    grant_types: [
      'authorization_code',
      'refresh_token',
      ...(client.clientSecret === undefined ? [] : ['client_credentials']),
      'urn:ietf:params:oauth:grant-type:device_code',
    ],
    token_endpoint_auth_method: client.authMethod ?? (client.clientSecret ? 'client_secret_basic' : 'none'),
  };
}

function lifetimes(options: SandboxOptions): Record<string, () => number> {
  const accessTokenTtlS = options.accessTokenTtlS ?? 60;
  const seconds = {
    AccessToken: accessTokenTtlS,
    ClientCredentials: accessTokenTtlS,
    IdToken: accessTokenTtlS,
    RefreshToken: options.refreshTokenTtlS ?? 14 * DAY_S,
    Grant: 14 * DAY_S,
    Session: DAY_S,
    Interaction: 60 * 60,
    AuthorizationCode: 60,
    DeviceCode: 10 * 60,
  };
  return Object.fromEntries(Object.entries(seconds).map(([name, value]) => [name, () => value]));
}

/** All access tokens are opaque, those for a resource (RFC 8707) too: only such can be introspected and revoked. */
function features(scopes: string[]): object {
  const own = (client: { clientId: string }, token: { clientId: string }) => client.clientId === token.clientId;
  const allowedPolicy = (_: unknown, client: { clientId: string }, token: { clientId: string }) => own(client, token);
  return {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy },
    revocation: { enabled: true, allowedPolicy },
    registration: { enabled: true, initialAccessToken: false },
    registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({ scope: scopes.join(' '), accessTokenFormat: 'opaque' }),
      useGrantedResource: () => true,
    },
  };
}
