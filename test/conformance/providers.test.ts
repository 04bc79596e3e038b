import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { AppError } from '../../src/shared/platform/errors.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { providerTypes } from '../../src/shared/providers/catalogue.ts';
import type { Provider, ProviderPlugin } from '../../src/shared/providers/contract.ts';
import { REPLIES, type StubAnswer } from '../../testkit/providers/stub-provider.ts';
import { call, deps, hasty, settingsOf, startStub } from '../providers/support.ts';

/** What must never be seen in an error: secrets that we send, and whatever a provider sends back. */
const CANARY = 'canary-1f6e0a';

const FAILURES: Record<string, StubAnswer> = {
  'a JSON error': { status: 400, body: { error: CANARY, error_description: CANARY } },
  'a known error': { status: 400, body: { error: 'invalid_grant', error_description: CANARY } },
  'an error with 200': { body: { error: 'invalid_client', error_description: CANARY } },
  'an unauthorised': { status: 401, body: { message: CANARY } },
  'a rate limit': { status: 429, body: { message: CANARY }, headers: { 'retry-after': '2' } },
  'an HTML outage': { status: 503, body: `<p>${CANARY}</p>`, headers: { 'content-type': 'text/html' } },
  'an HTML success': { status: 200, body: `<p>${CANARY}</p>`, headers: { 'content-type': 'text/html' } },
  garbage: { body: `{"access_token":"${CANARY}` },
  'a cut connection': REPLIES.reset,
  silence: REPLIES.hang,
};

const material = {
  accessToken: new Secret(`${CANARY}-access`),
  refreshToken: new Secret(`${CANARY}-refresh`),
};

const CALLS: Record<string, (provider: Provider, signal: AbortSignal) => Promise<unknown> | undefined> = {
  exchangeCode: (provider, signal) =>
    provider.exchangeCode?.(
      { code: new Secret(`${CANARY}-code`), redirectUri: 'https://app.example', codeVerifier: new Secret(CANARY) },
      { signal },
    ),
  refresh: (provider, signal) => provider.refresh?.(material.refreshToken, { signal }),
  clientCredentials: (provider, signal) => provider.clientCredentials?.({ scopes: ['a'] }, { signal }),
  revoke: (provider, signal) => provider.revoke?.(material, { signal }),
  probe: (provider, signal) => provider.probe?.(material, { signal }),
  introspectRefreshToken: (provider, signal) => provider.introspectRefreshToken?.(material.refreshToken, { signal }),
};

/** These must not take any of the failures for a success. */
const GIVES_TOKENS = ['exchangeCode', 'refresh', 'clientCredentials'];

const stub = await startStub();
const settings = {
  baseUrl: stub.url,
  clientSecret: new Secret(`${CANARY}-client-secret`),
  scopes: ['a', 'b'],
};

/** What the generic plug-in needs because it knows no provider by itself. */
const EXTRA: Record<string, Record<string, string>> = {
  oauth2: Object.fromEntries(
    ['authorize_url', 'token_url', 'revoke_url', 'introspect_url'].map((name) => [name, `${stub.url}/${name}`]),
  ),
};

describe.each(await providerTypes())('%s', async (type) => {
  const { plugin } = (await import(`../../src/shared/providers/plugins/${type}.ts`)) as { plugin: ProviderPlugin };
  const own = settingsOf(`x-${type}`, { ...settings, extra: EXTRA[type] ?? {} });
  const [provider, impatient] = [await plugin.create(own, deps), await plugin.create(own, hasty)];

  test('describes itself', () => {
    expect(plugin.name).toBe(type);
    expect(provider.service).toBe(`x-${type}`);
    expect(provider.displayName).not.toBe('');
    expect(provider.sandbox).toBe(false);
    expect(provider.defaultScopes).toEqual(['a', 'b']);
    expect(provider.maxConcurrent).toBeGreaterThan(0);
    expect(provider.probeEveryMs).toBeGreaterThan(0);
    // What is refreshed can be asked after: a token's death must not go unnoticed.
    if (provider.refresh) expect(provider.probe).toBeDefined();
  });

  if (provider.authorizationUrl)
    test('sends the person to a URL that carries state and redirect, and no secret', async () => {
      const request = { redirectUri: 'https://app.example/cb', state: 's-1', codeChallenge: 'c', scopes: ['a', 'b'] };
      const url = new URL(await provider.authorizationUrl!(request));
      expect(url.origin).toBe(stub.url);
      expect(Object.fromEntries(url.searchParams)).toMatchObject({
        response_type: 'code',
        client_id: 'client-1',
        redirect_uri: 'https://app.example/cb',
        state: 's-1',
      });
      expect(url.href).not.toContain(CANARY);
    });

  test('refuses a setting that it does not know', async () => {
    const odd = settingsOf('x', { ...settings, extra: { ...EXTRA[type], colour: 'red' } });
    await expect(plugin.create(odd, deps)).rejects.toThrow('KEYTURN_PROVIDER_X_COLOUR');
  });

  describe.each(Object.keys(CALLS))('%s', (name) => {
    test.each(Object.keys(FAILURES))('on %s ends by itself, and its error tells nothing', async (failure) => {
      stub.always(FAILURES[failure]!);
      const asked = failure === 'silence' ? impatient : provider;
      const outcome = await CALLS[name]!(asked, call().signal)?.then(
        (value) => ({ value }),
        (error: unknown) => ({ error }),
      );
      if (outcome === undefined) return;
      if ('value' in outcome) {
        expect(GIVES_TOKENS).not.toContain(name);
        return;
      }
      expect(outcome.error).toBeInstanceOf(AppError);
      expect((outcome.error as AppError).code).toMatch(/^provider_/);
      expect(inspect(outcome.error, { depth: 20, showHidden: true })).not.toContain(CANARY);
      expect(JSON.stringify(outcome.error)).not.toContain(CANARY);
    });

    test('stops at once when it is interrupted', async () => {
      stub.always(REPLIES.hang);
      const controller = new AbortController();
      const work = CALLS[name]!(provider, controller.signal);
      controller.abort();
      if (work) await expect(work).rejects.toMatchObject({ code: 'interrupted' });
    });
  });
});
