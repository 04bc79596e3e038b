import type { ProviderSettings } from '../platform/config/provider-settings.ts';
import { badSetting, isSecureUrl } from './settings.ts';

/** One HTTP call as data. `{token}` in `url`, `headers` and `body` stands for the token it is about. */
export type ApiCall = {
  method: 'GET' | 'POST' | 'DELETE';
  url: string;
  headers?: Record<string, string>;
  /** Whether the client authenticates itself, in the way of `clientAuth`. */
  asClient?: boolean;
  body?: Record<string, string>;
};

/** A cheap authenticated call that tells whether a token lives. */
export type ProbeCall = {
  call: ApiCall;
  /** Only for tokens of this shape; without it, for every token. The first that fits is called. */
  when?: RegExp;
  /** Answers that mean a dead token; a 2xx means a live one, anything else says nothing. */
  inactive: { status: number; bodyIncludes?: string }[];
};

/**
 * All there is to know about one OAuth provider. URLs may hold variables, `https://{host}/token`: each is a further
 * setting of the service. Where a field is absent, the provider does as RFC 6749 says.
 */
export type OAuthQuirks = {
  authorizeUrl?: string;
  tokenUrl: string;
  /** Where refreshes go when not to `tokenUrl`. */
  refreshUrl?: string;
  /** RFC 7009 endpoint. */
  revokeUrl?: string;
  /** A call that ends the grant, in place of RFC 7009. It is made with the access token. */
  revokeCall?: ApiCall;
  /** RFC 7662, answered by `{active: boolean}`. */
  introspection?: ApiCall;
  probes?: ProbeCall[];
  /** RFC 6749 §2.3.1; `none` for a public client. */
  clientAuth: 'basic' | 'post' | 'none';
  bodyFormat: 'form' | 'json';
  scopeSeparator: string;
  authorizeParams?: Record<string, string>;
  tokenParams?: Record<string, string>;
  refreshParams?: Record<string, string>;
  /** Sent with every call. */
  headers?: Record<string, string>;
  /** Where the reply holds the tokens, when not at its top: Slack's `['authed_user']`. */
  tokenPath?: string[];
  /** Unit of `expires_in`; `seconds` unless told. */
  expiryUnit?: 'seconds' | 'milliseconds';
  /** The provider refuses a request with PKCE in it. */
  refusesPkce?: boolean;
  /** Paths of the reply to keep as metadata; `owner.user.id` is kept as `owner_user_id`. Never a secret. */
  metadata?: string[];
  /** Whether the client-credentials grant is offered (RFC 6749 §4.4). */
  clientCredentials?: boolean;
};

const VARIABLE = /\{(?!token\})(\w+)\}/g;

/**
 * The quirks with every URL made final: variables filled in from the further settings, `baseUrl` put in place of the
 * provider's own origin. Throws `config_invalid`.
 */
export function resolveQuirks(quirks: OAuthQuirks, settings: ProviderSettings): OAuthQuirks {
  const url = (template: string) => resolveUrl(template, settings);
  const call = (template: ApiCall): ApiCall => ({ ...template, url: url(template.url) });
  const resolved: OAuthQuirks = { ...quirks, tokenUrl: url(quirks.tokenUrl) };
  for (const field of ['authorizeUrl', 'refreshUrl', 'revokeUrl'] as const) {
    if (quirks[field] !== undefined) resolved[field] = url(quirks[field]);
  }
  if (quirks.revokeCall) resolved.revokeCall = call(quirks.revokeCall);
  if (quirks.introspection) resolved.introspection = call(quirks.introspection);
  if (quirks.probes) resolved.probes = quirks.probes.map((probe) => ({ ...probe, call: call(probe.call) }));
  return resolved;
}

/** One URL made final, as `resolveQuirks` does. Throws `config_invalid`. */
export function resolveUrl(template: string, settings: ProviderSettings): string {
  const filled = template.replace(VARIABLE, (_, name: string) => {
    const value = settings.extra[name];
    if (!value) throw badSetting(settings.service, name, 'is missing; the provider needs it in its URLs.');
    return value;
  });
  const based = settings.baseUrl ? onBase(filled, settings.baseUrl) : filled;
  if (!isSecureUrl(based.replaceAll('{token}', 'token'))) {
    throw badSetting(settings.service, 'base_url', 'must be an https URL (plain http on loopback only).');
  }
  return based;
}

function onBase(url: string, baseUrl: string): string {
  const path = url.replace(/^https?:\/\/[^/?]*/, '');
  return baseUrl.replace(/\/+$/, '') + path;
}
