import type { ProviderPlugin } from '../contract.ts';
import { parseExtra } from '../settings.ts';

/**
 * Secrets that no OAuth server gives out: database passwords, client secrets, API keys of a house of one's own. They are
 * imported, released on the record, and rotated by a rotator; nobody can be asked whether they are good.
 */
export const plugin: ProviderPlugin = {
  name: 'static',
  async create(settings) {
    parseExtra(settings, {});
    return {
      service: settings.service,
      displayName: settings.service,
      sandbox: settings.sandbox ?? false,
      issuer: null,
      defaultScopes: settings.scopes ?? [],
      rotatesRefreshTokens: false,
      probeEveryMs: 24 * 3600_000,
      refreshTokenIdleMs: null,
      maxConcurrent: 16,
    };
  },
};
