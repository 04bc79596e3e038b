import type { ProviderSettings } from '../platform/config/provider-settings.ts';
import type { Secret } from '../platform/secret.ts';

/**
 * The secrets that a provider hands over: the plain content of one generation of a credential. They exist in memory only;
 * `sealing/` seals them as one JWE.
 */
export type SecretMaterial = {
  /** The access token, or the API key itself: the token release gives it out. */
  accessToken: Secret;
  refreshToken?: Secret;
  /** OpenID Connect ID token, kept so that a revocation or logout can hint with it. */
  idToken?: Secret;
  /** RFC 7592 §3: what manages a dynamically registered client. */
  registrationAccessToken?: Secret;
};

/** A provider's answer to an exchange or a refresh, validated and made uniform. */
export type TokenReply = {
  material: SecretMaterial;
  /** `Bearer` unless the provider says otherwise (RFC 6749 §7.1). */
  tokenType: string;
  /** Milliseconds since the epoch, or null where the provider names no expiry. */
  expiresAt: number | null;
  /** Expiry of the refresh token where the provider names one, else null. */
  refreshExpiresAt: number | null;
  /** Granted scopes; null when the reply is silent, which means "as asked for" (RFC 6749 §5.1). */
  scopes: string[] | null;
  /** Fields of the reply worth keeping beside the credential, e.g. Notion's `workspace_id`. Never a secret. */
  metadata: Record<string, string>;
};

export type AuthorizationRequest = {
  redirectUri: string;
  /** Opaque, single use (RFC 6749 §10.12). */
  state: string;
  /** RFC 7636 §4.2, S256. */
  codeChallenge: string;
  scopes: string[];
  /** RFC 8707 resource indicator. */
  resource?: string;
};

export type CodeExchange = {
  code: Secret;
  redirectUri: string;
  codeVerifier: Secret;
  resource?: string;
};

/**
 * An abort ends the wait at once (`interrupted`), not what the provider does: a refresh that was under way may have spent
 * its refresh token. So abort a refresh only when nobody can take its outcome any more.
 */
export type CallOptions = { signal: AbortSignal };

/** A provider's own word on a token. `unknown`: it has no means to say. */
export type Verdict = 'active' | 'inactive' | 'unknown';

/**
 * One service, ready to be called. Every call is bounded in time, throws only `AppError` (codes `provider_*`),
 * and never puts a provider's response body into an error. Optional calls are absent where the service has none.
 */
export type Provider = {
  /** The name in the catalogue: lower case, digits and dashes. */
  readonly service: string;
  readonly displayName: string;
  /** `sandbox` providers are marked wherever they are shown. */
  readonly sandbox: boolean;
  /** Issuer identifier (RFC 8414 §2) where known; answers of another issuer are refused (RFC 9207). */
  readonly issuer: string | null;
  readonly defaultScopes: readonly string[];
  /** Whether a refresh hands out a new refresh token and ends the old one. */
  readonly rotatesRefreshTokens: boolean;
  /** For tokens without expiry: how often to probe that they still live. Milliseconds. */
  readonly probeEveryMs: number;
  /** An unused refresh token lapses after this time; it is refreshed before. Null: never. Milliseconds. */
  readonly refreshTokenIdleMs: number | null;
  /** How many calls one process makes to this provider at once; `bulkhead.ts` says how they are shared. */
  readonly maxConcurrent: number;

  /** Builds the URL that the person is sent to. Absent: the service takes imported keys only. */
  authorizationUrl?(request: AuthorizationRequest): Promise<string>;
  /** RFC 6749 §4.1.3. Throws `provider_rejected` when the code is refused. */
  exchangeCode?(exchange: CodeExchange, options: CallOptions): Promise<TokenReply>;
  /**
   * RFC 6749 §6. The reply always carries a refresh token: the new one, or the old one where the provider sent none.
   * Throws `provider_grant_ended` on invalid_grant, `provider_throttled` (with `retryAfterMs`), `provider_unavailable`,
   * `provider_misconfigured` (invalid_client), `provider_rejected`.
   */
  refresh?(refreshToken: Secret, options: CallOptions & { scopes?: string[]; resource?: string }): Promise<TokenReply>;
  /** RFC 6749 §4.4. */
  clientCredentials?(request: { scopes: string[]; resource?: string }, options: CallOptions): Promise<TokenReply>;
  /** RFC 7009. Ends the whole grant where the provider allows. A token that is unknown there is success. */
  revoke?(material: SecretMaterial, options: CallOptions): Promise<void>;
  /** RFC 7662, or a cheap authenticated call. Does not consume anything. */
  probe?(material: SecretMaterial, options: CallOptions): Promise<Verdict>;
  /** RFC 7662 on the refresh token, without consuming it: is it still good? Absent where there is no introspection. */
  introspectRefreshToken?(refreshToken: Secret, options: CallOptions): Promise<Verdict>;
  /** Whether a string has the form of this service's keys or tokens. Undefined where the form is not known. */
  looksLikeToken?(value: string): boolean;
};

/** A provider as a plug-in: each file in `plugins/` exports one as `plugin`; it is found by being there. */
export type ProviderPlugin = {
  /** File name without its ending; the value of `KEYTURN_PROVIDER_<SERVICE>_TYPE`. */
  readonly name: string;
  /** Calls nobody: the provider may be down. Throws `config_invalid` that names the variable to set. */
  create(settings: ProviderSettings, deps: ProviderDeps): Promise<Provider>;
};

export type ProviderDeps = {
  clock: { now(): number };
  /** How long to wait for the head of a reply, and again for its body: a call ends within twice this. Milliseconds. */
  timeoutMs: number;
};
