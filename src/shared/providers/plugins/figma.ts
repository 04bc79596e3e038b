import type { ProviderPlugin } from '../contract.ts';
import { makeOAuthCalls } from '../oauth-provider.ts';
import { type OAuthQuirks, resolveQuirks } from '../quirks.ts';
import { parseExtra, requireClient } from '../settings.ts';

/** https://developers.figma.com/docs/rest-api/authentication/ : no revocation endpoint; a refresh keeps its refresh token. */
const quirks: OAuthQuirks = {
  authorizeUrl: 'https://www.figma.com/oauth',
  tokenUrl: 'https://api.figma.com/v1/oauth/token',
  refreshUrl: 'https://api.figma.com/v1/oauth/refresh',
  clientAuth: 'basic',
  bodyFormat: 'form',
  scopeSeparator: ',',
  metadata: ['user_id_string'],
  probes: [
    {
      when: /^figd_/,
      call: { method: 'GET', url: 'https://api.figma.com/v1/me', headers: { 'X-Figma-Token': '{token}' } },
      inactive: [{ status: 401 }, { status: 403, bodyIncludes: 'Invalid token' }],
    },
    {
      call: { method: 'GET', url: 'https://api.figma.com/v1/me', headers: { Authorization: 'Bearer {token}' } },
      inactive: [{ status: 401 }, { status: 403, bodyIncludes: 'Invalid token' }],
    },
  ],
};

export const plugin: ProviderPlugin = {
  name: 'figma',
  async create(settings, deps) {
    parseExtra(settings, {});
    return {
      service: settings.service,
      displayName: 'Figma',
      sandbox: settings.sandbox ?? false,
      issuer: null,
      defaultScopes: settings.scopes ?? ['current_user:read'],
      rotatesRefreshTokens: false,
      probeEveryMs: 6 * 3600_000,
      refreshTokenIdleMs: null,
      maxConcurrent: 16,
      looksLikeToken: (value) => /^fig[a-z]{1,2}_[\w-]{20,}$/.test(value),
      ...makeOAuthCalls(settings.service, resolveQuirks(quirks, settings), requireClient(settings), deps),
    };
  },
};
