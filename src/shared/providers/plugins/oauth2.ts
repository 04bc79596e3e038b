import { z } from 'zod';
import type { ProviderSettings } from '../../platform/config/provider-settings.ts';
import { AppError } from '../../platform/errors.ts';
import { untilAborted } from '../bounded.ts';
import type { ProviderDeps, ProviderPlugin } from '../contract.ts';
import { discoverIssuer, type IssuerMetadata } from '../discovery.ts';
import { makeOAuthCalls, type ProviderCalls } from '../oauth-provider.ts';
import type { OAuthQuirks } from '../quirks.ts';
import {
  badSetting,
  type ClientIdentity,
  isSecureUrl,
  parseExtra,
  requireClient,
  requirePublicClient,
  secureUrl,
} from '../settings.ts';

const params = z.string().transform((text) => Object.fromEntries(new URLSearchParams(text)));
const flag = z.enum(['true', 'false']).transform((text) => text === 'true');
const amount = z
  .string()
  .regex(/^[1-9]\d{0,8}$/, 'must be a whole number above zero')
  .transform(Number);

/** Further settings: `KEYTURN_PROVIDER_<SERVICE>_TOKEN_URL` and so on. */
const extraSettings = {
  display_name: z.string().optional(),
  authorize_url: secureUrl.optional(),
  token_url: secureUrl.optional(),
  refresh_url: secureUrl.optional(),
  revoke_url: secureUrl.optional(),
  introspect_url: secureUrl.optional(),
  client_auth: z.enum(['basic', 'post', 'none']).optional(),
  body_format: z.enum(['form', 'json']).default('form'),
  scope_separator: z.enum([' ', ',']).default(' '),
  pkce: flag.default(true),
  /** In form encoding: `access_type=offline&prompt=consent`. */
  authorize_params: params.optional(),
  token_params: params.optional(),
  rotates_refresh_tokens: flag.default(true),
  refresh_token_idle_days: amount.optional(),
  probe_every_seconds: amount.default(3600),
  max_concurrent: amount.default(64),
};

type Extra = z.infer<z.ZodObject<typeof extraSettings>>;

const NO_CALL = new AbortController().signal;

/**
 * Any OAuth 2 or OpenID Connect provider, by its issuer or by its endpoints. The issuer is asked at the first call, not
 * at the start, until it has answered once; endpoints that are set by hand win over what it says.
 */
export const plugin: ProviderPlugin = {
  name: 'oauth2',
  async create(settings, deps) {
    const extra = parseExtra(settings, extraSettings);
    const client = checkedClient(settings, extra);
    const calls = lazyCalls(settings, extra, client, deps);
    return {
      service: settings.service,
      displayName: extra.display_name ?? settings.service,
      sandbox: settings.sandbox ?? false,
      issuer: settings.issuer ?? null,
      defaultScopes: settings.scopes ?? [],
      rotatesRefreshTokens: extra.rotates_refresh_tokens,
      probeEveryMs: extra.probe_every_seconds * 1000,
      refreshTokenIdleMs: extra.refresh_token_idle_days ? extra.refresh_token_idle_days * 86_400_000 : null,
      maxConcurrent: extra.max_concurrent,
      ...forwarded(calls),
    };
  },
};

function checkedClient(settings: ProviderSettings, extra: Extra): ClientIdentity {
  const { service, issuer } = settings;
  if (!issuer && !extra.token_url)
    throw badSetting(service, 'issuer', 'is missing; or set …_AUTHORIZE_URL and …_TOKEN_URL.');
  if (issuer && !isSecureUrl(issuer)) {
    throw badSetting(service, 'issuer', 'must be an https URL (plain http on loopback only).');
  }
  return extra.client_auth === 'none' ? requirePublicClient(settings) : requireClient(settings);
}

/** The calls, made when first needed. Discovery happens once however many wait for it; a failed one is tried again. */
function lazyCalls(settings: ProviderSettings, extra: Extra, client: ClientIdentity, deps: ProviderDeps) {
  const { service, issuer } = settings;
  const build = (metadata: IssuerMetadata) => makeOAuthCalls(service, quirksOf(service, metadata, extra), client, deps);
  const needsIssuer = issuer !== undefined && !(extra.token_url && extra.authorize_url);
  let known = needsIssuer ? undefined : build({});
  let asking: Promise<ProviderCalls> | undefined;
  return (signal: AbortSignal): ProviderCalls | Promise<ProviderCalls> => {
    if (known) return known;
    asking ??= discoverIssuer(service, issuer!, deps)
      .then((metadata) => {
        known = build(metadata);
        return known;
      })
      .finally(() => {
        asking = undefined;
      });
    const answer = asking;
    return untilAborted(signal, () => answer);
  };
}

function quirksOf(service: string, metadata: IssuerMetadata, extra: Extra): OAuthQuirks {
  const tokenUrl = extra.token_url ?? metadata.token_endpoint;
  if (!tokenUrl) {
    throw new AppError('provider_misconfigured', { detail: `The issuer of ${service} names no token endpoint.` });
  }
  const introspectUrl = extra.introspect_url ?? metadata.introspection_endpoint;
  const methods = metadata.token_endpoint_auth_methods_supported;
  const basic = !methods || methods.includes('client_secret_basic');
  return {
    tokenUrl,
    authorizeUrl: extra.authorize_url ?? metadata.authorization_endpoint,
    refreshUrl: extra.refresh_url,
    revokeUrl: extra.revoke_url ?? metadata.revocation_endpoint,
    ...(introspectUrl && {
      introspection: { method: 'POST', url: introspectUrl, asClient: true, body: { token: '{token}' } },
    }),
    clientAuth: extra.client_auth ?? (basic ? 'basic' : 'post'),
    bodyFormat: extra.body_format,
    scopeSeparator: extra.scope_separator,
    refusesPkce: !extra.pkce,
    authorizeParams: extra.authorize_params,
    tokenParams: extra.token_params,
    refreshParams: extra.token_params,
    clientCredentials: true,
  };
}

/** Before the issuer has answered nobody knows its offer. So every call is there, and one that it does not offer throws. */
function forwarded(calls: (signal: AbortSignal) => ProviderCalls | Promise<ProviderCalls>): ProviderCalls {
  const need = <F>(call: F | undefined, what: string): F => {
    if (call) return call;
    throw new AppError('provider_unsupported', { detail: `The provider offers no ${what}.` });
  };
  return {
    authorizationUrl: async (request) =>
      need((await calls(NO_CALL)).authorizationUrl, 'authorization endpoint')(request),
    exchangeCode: async (exchange, options) =>
      need((await calls(options.signal)).exchangeCode, 'authorization endpoint')(exchange, options),
    refresh: async (token, options) => need((await calls(options.signal)).refresh, 'refresh')(token, options),
    clientCredentials: async (request, options) =>
      need((await calls(options.signal)).clientCredentials, 'client credentials')(request, options),
    revoke: async (material, options) =>
      need((await calls(options.signal)).revoke, 'revocation endpoint')(material, options),
    probe: async (material, options) => (await calls(options.signal)).probe?.(material, options) ?? 'unknown',
    introspectRefreshToken: async (token, options) =>
      (await calls(options.signal)).introspectRefreshToken?.(token, options) ?? 'unknown',
  };
}
