import { AuthorizationCode, ClientCredentials, type ModuleOptions } from 'simple-oauth2';
import { AppError } from '../platform/errors.ts';
import type { Secret } from '../platform/secret.ts';
import { untilAborted } from './bounded.ts';
import type { AuthorizationRequest, CallOptions, CodeExchange, ProviderDeps, TokenReply } from './contract.ts';
import { type FailureContext, ignoreEnded, noReply, type Operation, replyFailure, systemErrorCode } from './errors.ts';
import { makeHttpAgent } from './http-agent.ts';
import type { OAuthQuirks } from './quirks.ts';
import type { ClientIdentity } from './settings.ts';
import { readTokenReply } from './token-reply.ts';

/** No honest token reply is larger. */
const MAX_REPLY_BYTES = 128 * 1024;

export type OAuthClient = {
  /** RFC 6749 §4.1.1, RFC 7636 §4.3. Makes no call. */
  authorizationUrl(request: AuthorizationRequest): string;
  exchangeCode(exchange: CodeExchange, options: CallOptions): Promise<TokenReply>;
  refresh(refreshToken: Secret, options: CallOptions & { scopes?: string[]; resource?: string }): Promise<TokenReply>;
  clientCredentials(request: { scopes: string[]; resource?: string }, options: CallOptions): Promise<TokenReply>;
  /** RFC 7009 §2.1. A token that is unknown there is success. */
  revoke(token: Secret, hint: 'access_token' | 'refresh_token', options: CallOptions): Promise<void>;
};

/**
 * simple-oauth2 with its traps disarmed: replies are validated, the old refresh token is merged, connections are kept
 * alive, every call ends within twice `timeoutMs` (headers, then body) or when its signal aborts, and of an error
 * nothing is kept but status and code. Throws `config_invalid` where the library refuses the client.
 */
export function makeOAuthClient(
  service: string,
  quirks: OAuthQuirks,
  client: ClientIdentity,
  deps: ProviderDeps,
): OAuthClient {
  const { code: consent, machine } = loadLibraries(service, quirks, client, deps);
  const pkce = (params: Record<string, string>) => (quirks.refusesPkce ? {} : params);

  const { askTokens, call } = makeSender(service, quirks, deps);

  return {
    authorizationUrl: ({ redirectUri, state, codeChallenge, scopes, resource }) =>
      consent.authorizeURL({
        ...quirks.authorizeParams,
        redirect_uri: redirectUri,
        state,
        ...target(quirks, scopes, resource),
        ...pkce({ code_challenge: codeChallenge, code_challenge_method: 'S256' }),
      }),
    exchangeCode({ code, redirectUri, codeVerifier, resource }, options) {
      const verifier = pkce({ code_verifier: codeVerifier.reveal() });
      const params = { ...quirks.tokenParams, ...target(quirks, [], resource), ...verifier };
      const redemption = { ...params, code: code.reveal(), redirect_uri: redirectUri };
      return askTokens('exchange', options, () => consent.getToken(redemption));
    },
    refresh(refreshToken, { scopes, resource, signal }) {
      const params = { ...quirks.refreshParams, ...target(quirks, scopes, resource) };
      const token = consent.createToken({ refresh_token: refreshToken.reveal() });
      return askTokens('refresh', { signal }, () => token.refresh(params), refreshToken);
    },
    clientCredentials({ scopes, resource }, options) {
      const params = { ...quirks.tokenParams, ...target(quirks, scopes, resource) };
      return askTokens('client_credentials', options, () => machine.getToken(params));
    },
    async revoke(secret, hint, options) {
      const token = consent.createToken({ [hint]: secret.reveal() });
      await call('revoke', options, () => token.revoke(hint)).catch(ignoreEnded);
    },
  };
}

type Send = () => Promise<{ token: unknown }>;

function makeSender(service: string, quirks: OAuthQuirks, deps: ProviderDeps) {
  const contextOf = (operation: Operation): FailureContext => ({ service, operation, nowMs: deps.clock.now() });
  function call<T>(operation: Operation, { signal }: CallOptions, send: () => Promise<T>): Promise<T> {
    return untilAborted(signal, send).catch((error: unknown) => {
      throw error instanceof AppError ? error : libraryFailure(error, contextOf(operation));
    });
  }
  return {
    call,
    /** Expiry counts from before the call: a slow reply makes a token look older, never younger. */
    async askTokens(operation: Operation, options: CallOptions, send: Send, previous?: Secret): Promise<TokenReply> {
      const context = contextOf(operation);
      const { token } = await call(operation, options, send);
      return readTokenReply(token, quirks, context, previous);
    },
  };
}

/** The scopes that are asked for, and the resource indicator of RFC 8707. */
function target(quirks: OAuthQuirks, scopes: string[] = [], resource?: string): { scope?: string; resource?: string } {
  return {
    ...(scopes.length > 0 && { scope: scopes.join(quirks.scopeSeparator) }),
    ...(resource && { resource }),
  };
}

type Libraries = { code: AuthorizationCode; machine: ClientCredentials };

function loadLibraries(service: string, quirks: OAuthQuirks, client: ClientIdentity, deps: ProviderDeps): Libraries {
  const common = libraryOptions(quirks, client, deps);
  const auth = {
    tokenHost: quirks.tokenUrl,
    tokenPath: quirks.tokenUrl,
    refreshPath: quirks.refreshUrl ?? quirks.tokenUrl,
    ...(quirks.revokeUrl && { revokePath: quirks.revokeUrl }),
  };
  const withConsent = { ...auth, ...(quirks.authorizeUrl && { authorizePath: quirks.authorizeUrl }) };
  try {
    return {
      code: new AuthorizationCode({ ...common, auth: withConsent }),
      machine: new ClientCredentials({ ...common, auth }),
    };
  } catch {
    // The library's own error prints the client secret: it is not even a cause.
    throw new AppError('config_invalid', { detail: `The OAuth library refuses the endpoints of ${service}.` });
  }
}

function libraryOptions(quirks: OAuthQuirks, client: ClientIdentity, deps: ProviderDeps): Omit<ModuleOptions, 'auth'> {
  return {
    // A public client names itself and sends no secret, not even an empty one (RFC 6749 §2.3.1): so its id goes twice.
    client:
      quirks.clientAuth === 'none' ? { id: client.id, secret: client.id, secretParamName: 'client_id' } : { ...client },
    http: {
      agent: makeHttpAgent(quirks.tokenUrl),
      timeout: deps.timeoutMs,
      maxBytes: MAX_REPLY_BYTES,
      headers: { Accept: 'application/json', ...quirks.headers },
      // Not `strict`: the library then hides the status of every reply that is not JSON, an empty 200 included.
      json: true,
    },
    options: {
      scopeSeparator: quirks.scopeSeparator,
      authorizationMethod: quirks.clientAuth === 'basic' ? 'header' : 'body',
      bodyFormat: quirks.bodyFormat,
    },
  };
}

type LibraryError = {
  data?: {
    isResponseError?: boolean;
    payload?: unknown;
    res?: { statusCode: number; headers: Record<string, unknown> };
  };
  output?: { statusCode: number };
};

/** The meaning of a Boom of simple-oauth2. It holds the provider's body, so nothing of it may become a cause. */
function libraryFailure(error: unknown, context: FailureContext): AppError {
  const { data, output } = (error ?? {}) as LibraryError;
  const res = data?.res;
  if (!res) {
    const timedOut = output?.statusCode === 504 || output?.statusCode === 408;
    return noReply(timedOut ? 'timed out' : (systemErrorCode(error) ?? 'no answer'), context);
  }
  if (res.statusCode < 400) return noReply(`status ${res.statusCode} with a body that cannot be read`, context);
  const retryAfter = res.headers['retry-after'];
  return replyFailure(
    {
      status: res.statusCode,
      retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      body: data?.isResponseError ? data.payload : undefined,
    },
    context,
  );
}
