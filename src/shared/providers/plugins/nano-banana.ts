import type { ProviderPlugin } from '../contract.ts';
import { makeInspection, makeOAuthCalls } from '../oauth-provider.ts';
import { type OAuthQuirks, resolveQuirks } from '../quirks.ts';
import { parseExtra, requireClient } from '../settings.ts';

const MODELS = 'https://generativelanguage.googleapis.com/v1beta/models?pageSize=1';

/** API keys of Google: the classic form, and the keys bound to an account that follow it. */
const API_KEY = /^(AIza[\w-]{35}|AQ\.[\w-]{20,})$/;

/** https://ai.google.dev/gemini-api/docs/oauth ; only `prompt=consent` makes Google hand out a refresh token each time. */
const quirks: OAuthQuirks = {
  authorizeUrl: 'https://accounts.google.com/o/oauth2/v2/auth',
  tokenUrl: 'https://oauth2.googleapis.com/token',
  revokeUrl: 'https://oauth2.googleapis.com/revoke',
  clientAuth: 'post',
  bodyFormat: 'form',
  scopeSeparator: ' ',
  authorizeParams: { access_type: 'offline', prompt: 'consent' },
  probes: [
    {
      when: API_KEY,
      call: { method: 'GET', url: MODELS, headers: { 'x-goog-api-key': '{token}' } },
      inactive: [
        { status: 400, bodyIncludes: 'API_KEY_INVALID' },
        { status: 401 },
        { status: 403, bodyIncludes: 'reported as leaked' },
        { status: 403, bodyIncludes: 'CONSUMER_SUSPENDED' },
      ],
    },
    {
      call: { method: 'GET', url: MODELS, headers: { Authorization: 'Bearer {token}' } },
      inactive: [{ status: 401 }],
    },
  ],
};

/** Gemini's image models. An API key that is imported; with a client id, also consent through Google. */
export const plugin: ProviderPlugin = {
  name: 'nano-banana',
  async create(settings, deps) {
    parseExtra(settings, {});
    const { service } = settings;
    const resolved = resolveQuirks(quirks, settings);
    const withOAuth = settings.clientId !== undefined;
    const calls = withOAuth
      ? makeOAuthCalls(service, resolved, requireClient(settings), deps)
      : { probe: makeInspection(service, resolved, { id: '', secret: '' }, deps).probe };
    return {
      service,
      displayName: 'Nano Banana (Gemini)',
      sandbox: settings.sandbox ?? false,
      issuer: withOAuth ? 'https://accounts.google.com' : null,
      defaultScopes: settings.scopes ?? ['https://www.googleapis.com/auth/cloud-platform'],
      rotatesRefreshTokens: false,
      probeEveryMs: 6 * 3600_000,
      // Google drops a refresh token after six months without use: https://developers.google.com/identity/protocols/oauth2
      refreshTokenIdleMs: 180 * 86_400_000,
      maxConcurrent: 16,
      looksLikeToken: (value) => API_KEY.test(value) || /^ya29\.[\w-]{20,}$/.test(value),
      ...calls,
    };
  },
};
