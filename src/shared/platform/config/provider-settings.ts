import type { Secret } from '../secret.ts';

/** The configuration of one service (environment: `KEYTURN_PROVIDER_<SERVICE>_<FIELD>`). */
export type ProviderSettings = {
  service: string;
  /** The plug-in to use; by default the file named as the service, else `oauth2`. */
  type?: string;
  clientId?: string;
  clientSecret?: Secret;
  issuer?: string;
  scopes?: string[];
  sandbox?: boolean;
  /** Base URL of the provider in place of its own: tests and on-premise installations. */
  baseUrl?: string;
  /** Further settings of the plug-in, by lower-case name, e.g. `authorize_url`, `token_url`, `revoke_url`. */
  extra: Record<string, string>;
};
