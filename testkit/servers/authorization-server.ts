import { randomBytes } from 'node:crypto';
import { type Sandbox, startSandbox } from '../../local/sandbox/server.ts';
import type { SandboxOptions } from '../../local/sandbox/settings.ts';
import { type Browser, openBrowser } from '../../local/tools/browser.ts';

/** A strict authorization server with one client, and a person who consents. */
export type AuthorizationServer = Sandbox & {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly redirectUri: string;
  /**
   * Walks from an authorization URL through login and consent like a browser, and returns the address that the person
   * is sent back to, which is not visited.
   */
  consent(authorizationUrl: string, options?: ConsentOptions): Promise<string>;
};

export type ConsentOptions = {
  decision?: 'allow' | 'deny';
  /** By default a new one: a new person. */
  browser?: Browser;
};

export type AuthorizationServerOptions = Partial<SandboxOptions> & { redirectUri?: string };

/**
 * Starts oidc-provider as strict as it gets: PKCE required, refresh tokens rotate, reuse ends the grant, access tokens
 * of 5 seconds.
 */
export async function startAuthorizationServer(options: AuthorizationServerOptions = {}): Promise<AuthorizationServer> {
  const { redirectUri = 'http://127.0.0.1:8080/v1/oauth/callback', ...rest } = options;
  const client = { clientId: 'keyturn', clientSecret: randomBytes(24).toString('base64url') };
  const sandbox = await startSandbox({
    accessTokenTtlS: 5,
    autoConsent: true,
    clients: [{ ...client, redirectUris: [redirectUri] }],
    ...rest,
  });
  return { ...sandbox, ...client, redirectUri, consent: (url, how) => consent(sandbox.issuer, url, how) };
}

async function consent(
  issuer: string,
  authorizationUrl: string,
  { decision = 'allow', browser = openBrowser() }: ConsentOptions = {},
): Promise<string> {
  const { url, response } = await browser.follow(authorizationUrl, {
    stop: ({ origin }) => origin !== issuer,
    init: ({ pathname }) =>
      pathname.startsWith('/interaction/') ? { method: 'POST', body: new URLSearchParams({ decision }) } : {},
  });
  if (response !== null) throw new Error(`the authorization server did not redirect: ${await response.text()}`);
  return url;
}
