/** Settings of a service of type `oauth2`: what stands behind `KEYTURN_PROVIDER_<NAME>_` in small letters → value. */
export type ServiceSettings = Record<string, string>;

/** The variables that set up services, and no others: name → settings. */
export function services(all: Record<string, ServiceSettings>): Record<string, string> {
  const variables = Object.entries(all).flatMap(([name, settings]) => {
    const prefix = `KEYTURN_PROVIDER_${name.toUpperCase().replaceAll('-', '_')}`;
    const rows = Object.entries({ type: 'oauth2', ...settings });
    return rows.map(([setting, value]) => [`${prefix}_${setting.toUpperCase()}`, value]);
  });
  return { KEYTURN_PROVIDERS: Object.keys(all).join(','), ...Object.fromEntries(variables) };
}

const CLIENT = { client_id: 'client-1', client_secret: 'secret-1' };

/** A server that publishes its metadata, with a client of its own. */
export function atIssuer(server: { issuer: string; clientId: string; clientSecret: string }): ServiceSettings {
  return { issuer: server.issuer, client_id: server.clientId, client_secret: server.clientSecret };
}

/** A server without metadata, such as the stub: it exchanges, refreshes, revokes and introspects. */
export function atUrl(url: string): ServiceSettings {
  return { ...withoutEnd(url), revoke_url: `${url}/revoke`, introspect_url: `${url}/introspect` };
}

/** A server that exchanges and refreshes, and cannot end a token. */
export function withoutEnd(url: string): ServiceSettings {
  return { ...CLIENT, authorize_url: `${url}/authorize`, token_url: `${url}/token` };
}

/** For tests that call no provider: nobody listens there. */
export const NOBODY = withoutEnd('http://127.0.0.1:9');
