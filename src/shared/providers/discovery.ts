import * as oauth from 'oauth4webapi';
import { AppError } from '../platform/errors.ts';
import type { ProviderDeps } from './contract.ts';
import { type FailureContext, noReply, replyFailure, systemErrorCode } from './errors.ts';
import { isSecureUrl, settingName } from './settings.ts';

/** The part of an issuer's metadata (RFC 8414 §2) that is used. */
export type IssuerMetadata = Pick<
  oauth.AuthorizationServer,
  | 'authorization_endpoint'
  | 'token_endpoint'
  | 'revocation_endpoint'
  | 'introspection_endpoint'
  | 'token_endpoint_auth_methods_supported'
>;

/**
 * Asks the issuer by RFC 8414 §3, then by OpenID Connect Discovery. Metadata of another issuer (RFC 8414 §3.3) and
 * endpoints that are not https are refused as `provider_misconfigured`; an issuer that is down is `provider_unavailable`.
 */
export async function discoverIssuer(service: string, issuer: string, deps: ProviderDeps): Promise<IssuerMetadata> {
  const context: FailureContext = { service, operation: 'discover', nowMs: deps.clock.now() };
  const url = new URL(issuer);
  const first = await request(url, 'oauth2', deps, context);
  const response = first.status === 200 ? first : await request(url, 'oidc', deps, context);
  if (response !== first) await first.body?.cancel();
  if (response.status !== 200) {
    if (response.status === 404) throw refused(service, 'publishes no metadata; set the endpoints by hand.');
    throw replyFailure(
      { status: response.status, retryAfter: response.headers.get('retry-after') ?? undefined },
      context,
    );
  }
  const metadata = await readMetadata(url, response, service, context);
  const endpoints = [metadata.authorization_endpoint, metadata.token_endpoint, metadata.revocation_endpoint];
  if ([...endpoints, metadata.introspection_endpoint].some((endpoint) => endpoint && !isSecureUrl(endpoint))) {
    throw refused(service, 'names an endpoint that is not https.');
  }
  return metadata;
}

async function request(
  issuer: URL,
  algorithm: 'oauth2' | 'oidc',
  deps: ProviderDeps,
  context: FailureContext,
): Promise<Response> {
  try {
    return await oauth.discoveryRequest(issuer, {
      algorithm,
      signal: AbortSignal.timeout(deps.timeoutMs),
      // The issuer is https, or plain http on loopback: it was checked when it was configured.
      [oauth.allowInsecureRequests]: true,
    });
  } catch (error) {
    throw noReply(systemErrorCode(error) ?? 'timed out', context);
  }
}

async function readMetadata(issuer: URL, response: Response, service: string, context: FailureContext) {
  try {
    return await oauth.processDiscoveryResponse(issuer, response);
  } catch (error) {
    if ((error as { code?: unknown }).code === oauth.JSON_ATTRIBUTE_COMPARISON) {
      throw refused(service, 'calls itself by another name in its metadata.');
    }
    throw noReply('metadata that cannot be read', context);
  }
}

function refused(service: string, problem: string): AppError {
  return new AppError('provider_misconfigured', {
    detail: `The issuer in ${settingName(service, 'issuer')} ${problem}`,
  });
}
