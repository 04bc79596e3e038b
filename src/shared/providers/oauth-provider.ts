import { z } from 'zod';
import { AppError } from '../platform/errors.ts';
import type { Secret } from '../platform/secret.ts';
import { type ApiCaller, type ApiReply, makeApiCaller } from './api-call.ts';
import type { CallOptions, Provider, ProviderDeps, SecretMaterial, Verdict } from './contract.ts';
import { type FailureContext, ignoreEnded, type Operation, replyFailure } from './errors.ts';
import { makeOAuthClient, type OAuthClient } from './oauth-client.ts';
import type { OAuthQuirks, ProbeCall } from './quirks.ts';
import type { ClientIdentity } from './settings.ts';

/** The callable half of a `Provider`. */
export type ProviderCalls = Pick<
  Provider,
  'authorizationUrl' | 'exchangeCode' | 'refresh' | 'clientCredentials' | 'revoke' | 'probe' | 'introspectRefreshToken'
>;

/** The calls that a provider's table makes possible. `quirks` is resolved. Throws `config_invalid`. */
export function makeOAuthCalls(
  service: string,
  quirks: OAuthQuirks,
  client: ClientIdentity,
  deps: ProviderDeps,
): ProviderCalls {
  const oauth = makeOAuthClient(service, quirks, client, deps);
  const inspect = makeInspection(service, quirks, client, deps);
  const contextOf = (operation: Operation): FailureContext => ({ service, operation, nowMs: deps.clock.now() });
  return {
    ...(quirks.authorizeUrl && { authorizationUrl: async (request) => oauth.authorizationUrl(request) }),
    exchangeCode: oauth.exchangeCode,
    refresh: oauth.refresh,
    ...(quirks.clientCredentials && { clientCredentials: oauth.clientCredentials }),
    ...(quirks.revokeUrl && { revoke: (material, options) => revokeGrant(oauth, material, options) }),
    ...(quirks.revokeCall && {
      revoke: ({ accessToken }, options) =>
        revokeByCall(inspect.caller, quirks, accessToken, contextOf('revoke'), options),
    }),
    ...((quirks.introspection || quirks.probes) && { probe: inspect.probe }),
    ...(quirks.introspection && { introspectRefreshToken: inspect.introspect }),
  };
}

/** Probing and introspection, for providers with keys as well. `quirks` is resolved. */
export function makeInspection(service: string, quirks: InspectionQuirks, client: ClientIdentity, deps: ProviderDeps) {
  const caller = makeApiCaller(quirks, client, deps);
  const contextOf = (operation: Operation): FailureContext => ({ service, operation, nowMs: deps.clock.now() });
  const introspect = (token: Secret, options: CallOptions) =>
    introspection(caller, quirks, token, contextOf('introspect'), options);
  return {
    caller,
    introspect,
    /** By introspection where there is one, else by the first probe that fits the token's shape. */
    async probe(material: SecretMaterial, options: CallOptions): Promise<Verdict> {
      const token = material.accessToken;
      if (quirks.introspection) return introspect(token, options);
      const fitting = quirks.probes?.find(({ when }) => !when || when.test(token.reveal()));
      return fitting ? probe(caller, fitting, token, contextOf('probe'), options) : 'unknown';
    },
  };
}

export type InspectionQuirks = Pick<OAuthQuirks, 'introspection' | 'probes' | 'clientAuth' | 'bodyFormat' | 'headers'>;

/**
 * RFC 7009: the refresh token first, because that ends the grant; then the access token, which may live on otherwise.
 * An access token that the server cannot revoke (a JWT) is no failure when the grant has ended.
 */
async function revokeGrant(oauth: OAuthClient, material: SecretMaterial, options: CallOptions): Promise<void> {
  const { refreshToken, accessToken } = material;
  if (refreshToken) await oauth.revoke(refreshToken, 'refresh_token', options);
  try {
    await oauth.revoke(accessToken, 'access_token', options);
  } catch (error) {
    const unsupported = error instanceof AppError && error.code === 'provider_unsupported';
    if (!(refreshToken && unsupported)) throw error;
  }
}

async function revokeByCall(
  caller: ApiCaller,
  quirks: OAuthQuirks,
  token: Secret,
  context: FailureContext,
  options: CallOptions,
): Promise<void> {
  const reply = await caller(quirks.revokeCall!, token, context, options);
  if (!isSuccess(reply)) ignoreEnded(replyFailure({ ...reply, body: parseJson(reply.text) }, context));
}

const introspectionReply = z.object({ active: z.boolean() });

async function introspection(
  caller: ApiCaller,
  quirks: InspectionQuirks,
  token: Secret,
  context: FailureContext,
  options: CallOptions,
): Promise<Verdict> {
  const reply = await caller(quirks.introspection!, token, context, options);
  const body = parseJson(reply.text);
  if (!isSuccess(reply)) throw replyFailure({ ...reply, body }, context);
  const parsed = introspectionReply.safeParse(body);
  if (!parsed.success) return 'unknown';
  return parsed.data.active ? 'active' : 'inactive';
}

async function probe(
  caller: ApiCaller,
  { call, inactive }: ProbeCall,
  token: Secret,
  context: FailureContext,
  options: CallOptions,
): Promise<Verdict> {
  const reply = await caller(call, token, context, options);
  if (isSuccess(reply)) return 'active';
  const dead = inactive.some(
    ({ status, bodyIncludes }) => status === reply.status && (!bodyIncludes || reply.text.includes(bodyIncludes)),
  );
  if (dead) return 'inactive';
  if (reply.status === 429 || reply.status >= 500) throw replyFailure(reply, context);
  return 'unknown';
}

function isSuccess(reply: ApiReply): boolean {
  return reply.status >= 200 && reply.status < 300;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
