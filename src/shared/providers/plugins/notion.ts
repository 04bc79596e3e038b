import type { ProviderPlugin } from '../contract.ts';
import { makeOAuthCalls } from '../oauth-provider.ts';
import { type OAuthQuirks, resolveQuirks } from '../quirks.ts';
import { parseExtra, requireClient } from '../settings.ts';

/**
 * https://developers.notion.com/guides/get-started/authorization : JSON bodies, no scopes, no expiry; members of a body
 * that it does not know are refused, so neither PKCE nor a token_type_hint is sent. A refresh rotates both tokens.
 */
const quirks: OAuthQuirks = {
  authorizeUrl: 'https://api.notion.com/v1/oauth/authorize',
  tokenUrl: 'https://api.notion.com/v1/oauth/token',
  clientAuth: 'basic',
  bodyFormat: 'json',
  scopeSeparator: ' ',
  refusesPkce: true,
  authorizeParams: { owner: 'user' },
  headers: { 'Notion-Version': '2025-09-03' },
  metadata: ['workspace_id', 'workspace_name', 'bot_id', 'owner.type', 'owner.user.id'],
  revokeCall: {
    method: 'POST',
    url: 'https://api.notion.com/v1/oauth/revoke',
    asClient: true,
    body: { token: '{token}' },
  },
  probes: [
    {
      call: { method: 'GET', url: 'https://api.notion.com/v1/users/me', headers: { Authorization: 'Bearer {token}' } },
      inactive: [{ status: 401 }],
    },
  ],
};

export const plugin: ProviderPlugin = {
  name: 'notion',
  async create(settings, deps) {
    parseExtra(settings, {});
    return {
      service: settings.service,
      displayName: 'Notion',
      sandbox: settings.sandbox ?? false,
      issuer: null,
      defaultScopes: settings.scopes ?? [],
      rotatesRefreshTokens: true,
      probeEveryMs: 6 * 3600_000,
      refreshTokenIdleMs: null,
      maxConcurrent: 8,
      looksLikeToken: (value) => /^(ntn|nrt|secret)_[A-Za-z0-9]{20,}$/.test(value),
      ...makeOAuthCalls(settings.service, resolveQuirks(quirks, settings), requireClient(settings), deps),
    };
  },
};
