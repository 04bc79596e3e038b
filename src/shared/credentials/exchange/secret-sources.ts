/** Where a credential's first secret comes from: a code, the client's own credentials, or the app itself. */

import type { ClientCredentialsData, ExchangeData, ImportData } from '../../events/catalogue.ts';
import { AppError } from '../../platform/errors.ts';
import { Secret } from '../../platform/secret.ts';
import type { Provider, TokenReply } from '../../providers/contract.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import type { Birth } from './activation.ts';

/** The source that an event names. */
export function sourceOf(event: EventDoc) {
  return SOURCES[nameOf(event)];
}

function nameOf(event: EventDoc): keyof typeof SOURCES {
  if (event.type === 'credential.import.requested') return 'import';
  return event.data.grantType === 'client_credentials' ? 'client_credentials' : 'code';
}

/** Once asked, the answer is waited for even while the process drains: it exists only once. The call has its own time-out. */
const NEVER = { signal: new AbortController().signal };

/** `once`: asking twice is no option. */
const SOURCES = {
  code: {
    once: true,
    birth: (provider: Provider, data: ExchangeData) => birthOf(provider, data, 'oauth2'),
    reply: async (provider: Provider, data: ExchangeData) => {
      if (!provider.exchangeCode) throw unsupported(provider, 'authorization codes');
      const reply = await provider.exchangeCode(
        {
          code: new Secret(data.code),
          codeVerifier: new Secret(data.codeVerifier),
          redirectUri: data.redirectUri,
          ...(data.resource && { resource: data.resource }),
        },
        NEVER,
      );
      return checkScopes({ ...reply, scopes: reply.scopes ?? data.scopes ?? [] }, data.scopes);
    },
  },
  client_credentials: {
    once: false,
    birth: (provider: Provider, data: ClientCredentialsData) => birthOf(provider, data, 'client_credentials'),
    reply: async (provider: Provider, data: ClientCredentialsData) => {
      if (!provider.clientCredentials) throw unsupported(provider, 'the client-credentials grant');
      const scopes = data.scopes ?? [...provider.defaultScopes];
      const reply = await provider.clientCredentials(
        { scopes, ...(data.resource && { resource: data.resource }) },
        NEVER,
      );
      return checkScopes({ ...reply, scopes: reply.scopes ?? scopes }, data.scopes);
    },
  },
  import: {
    once: false,
    birth: (provider: Provider, data: ImportData) => ({
      ...birthOf(provider, data, data.kind),
      policy: {
        ...(data.rotateEveryDays && { rotateEveryMs: data.rotateEveryDays * 86_400_000 }),
        ...(data.overlapSeconds !== undefined && { overlapMs: data.overlapSeconds * 1000 }),
      },
    }),
    reply: async (_provider: Provider, data: ImportData): Promise<TokenReply> => ({
      material: {
        accessToken: new Secret(data.accessToken),
        ...(data.refreshToken && { refreshToken: new Secret(data.refreshToken) }),
        ...(data.registrationAccessToken && { registrationAccessToken: new Secret(data.registrationAccessToken) }),
      },
      tokenType: data.tokenType ?? 'Bearer',
      expiresAt: data.expiresAt ? Date.parse(data.expiresAt) : null,
      refreshExpiresAt: null,
      scopes: data.scopes ?? [],
      metadata: data.metadata ?? {},
    }),
  },
};

function birthOf(
  provider: Provider,
  data: { service: string; subject: string; resource?: string | undefined },
  kind: Birth['kind'],
): Birth {
  const { service, subject, resource } = data;
  return { service, subject, kind, issuer: provider.issuer, resource: resource ?? null, policy: {} };
}

/** A grant that is narrower than asked for would fail later, far from here. */
function checkScopes(reply: TokenReply, asked: string[] | undefined): TokenReply {
  const missing = (asked ?? []).filter((scope) => scope !== 'offline_access' && !reply.scopes?.includes(scope));
  if (missing.length === 0) return reply;
  throw new AppError('scopes_missing', {
    detail: `The provider did not grant: ${missing.join(', ')}. Ask for consent again, or for fewer scopes.`,
  });
}

function unsupported(provider: Provider, what: string): AppError {
  return new AppError('provider_unsupported', { detail: `${provider.displayName} does not take ${what}.` });
}
