import { createHash, randomBytes } from 'node:crypto';
import type { Provider } from '../../src/shared/providers/contract.ts';
import type { AuthorizationServer } from '../servers/authorization-server.ts';

/** The data of an exchange event, with the code that a person's consent has brought. */
export type ConsentCode = {
  service: string;
  subject: string;
  code: string;
  codeVerifier: string;
  redirectUri: string;
};

type Asked = {
  subject: string;
  service?: string;
  scopes?: string[];
  /** Asks for its authorization URL; absent: an app that speaks to the server itself makes it. */
  provider?: Provider;
};

/** A person consents, and the app has the code: what it sends to have it exchanged. */
export async function consentCode(
  server: AuthorizationServer,
  { subject, service = 'acme', scopes = ['openid', 'offline_access'], provider }: Asked,
): Promise<ConsentCode> {
  const codeVerifier = randomBytes(32).toString('base64url');
  const request = {
    redirectUri: server.redirectUri,
    state: randomBytes(16).toString('base64url'),
    codeChallenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    scopes,
  };
  const url = provider ? await provider.authorizationUrl!(request) : authorizationUrl(server, request);
  const code = new URL(await server.consent(url)).searchParams.get('code');
  if (code === null) throw new Error(`the consent of ${subject} brought no code`);
  return { service, subject, code, codeVerifier, redirectUri: server.redirectUri };
}

type AuthorizationRequest = { redirectUri: string; state: string; codeChallenge: string; scopes: string[] };

/** RFC 6749 §4.1.1 and RFC 7636 §4.3; `prompt=consent` brings a refresh token (OpenID Connect Core §11). */
export function authorizationUrl(
  { issuer, clientId }: Pick<AuthorizationServer, 'issuer' | 'clientId'>,
  { redirectUri, state, codeChallenge, scopes }: AuthorizationRequest,
): string {
  const query = new URLSearchParams({
    client_id: clientId,
    redirect_uri: redirectUri,
    response_type: 'code',
    scope: scopes.join(' '),
    prompt: 'consent',
    state,
    code_challenge: codeChallenge,
    code_challenge_method: 'S256',
  });
  return `${issuer}/auth?${query}`;
}
