import { expect, test } from 'vitest';
import { assertNoSecretDebug } from '../../src/shared/platform/config/debug.ts';
import { AppError } from '../../src/shared/platform/errors.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { loadCatalogue, providerTypes } from '../../src/shared/providers/catalogue.ts';
import { resolveQuirks } from '../../src/shared/providers/quirks.ts';
import { deps as callDeps, errorOf, settingsOf } from './support.ts';

const deps = { ...callDeps, random: systemRandom };
const own = { issuer: 'https://login.example' };

test('a provider is picked up by its file being there', async () => {
  expect(await providerTypes()).toEqual(expect.arrayContaining(['figma', 'nano-banana', 'notion', 'oauth2']));
});

test('a service takes the file of its name, else the generic one, or the type that is set', async () => {
  const settings = [
    settingsOf('figma'),
    settingsOf('acme', own),
    settingsOf('our-notion', { type: 'notion', sandbox: true }),
  ];
  const catalogue = await loadCatalogue(settings, deps);
  expect(catalogue.list().map(({ service, displayName, sandbox }) => [service, displayName, sandbox])).toEqual([
    ['figma', 'Figma', false],
    ['acme', 'acme', false],
    ['our-notion', 'Notion', true],
  ]);
  expect(catalogue.get('acme').issuer).toBe('https://login.example');
});

test('an unknown service is refused with the list of those that are configured', async () => {
  const catalogue = await loadCatalogue([settingsOf('figma'), settingsOf('acme', own)], deps);
  expect(() => catalogue.get('gifma')).toThrow(
    new AppError('unknown_service', { detail: 'There is no service "gifma". Configured are: figma, acme.' }),
  );
  expect(() => catalogue.get('<script>')).toThrow('There is no service of that name.');
});

test('all bad services are reported at once, each by the variable to set', async () => {
  const settings = [
    settingsOf('figma', { clientId: undefined }),
    settingsOf('acme'),
    settingsOf('odd', { type: 'no-such' }),
    settingsOf('notion', { extra: { colour: 'red' } }),
    settingsOf('nano-banana', { baseUrl: 'http://intranet.example' }),
  ];
  const error = await errorOf(loadCatalogue(settings, deps));
  expect(error.code).toBe('config_invalid');
  for (const variable of ['FIGMA_CLIENT_ID', 'ACME_ISSUER', 'ODD_TYPE', 'NOTION_COLOUR', 'NANO_BANANA_BASE_URL']) {
    expect(error.message).toContain(`KEYTURN_PROVIDER_${variable}`);
  }
});

test('URLs take their variables from the further settings, and say which is missing', async () => {
  const quirks = {
    tokenUrl: 'https://{host}/services/oauth2/token',
    revokeCall: { method: 'DELETE', url: 'https://{host}/tokens/{token}' },
    clientAuth: 'post',
    bodyFormat: 'form',
    scopeSeparator: ' ',
  } as const;
  const resolved = resolveQuirks(quirks, settingsOf('sf', { extra: { host: 'acme.example' } }));
  expect(resolved.tokenUrl).toBe('https://acme.example/services/oauth2/token');
  expect(resolved.revokeCall?.url).toBe('https://acme.example/tokens/{token}');
  expect(() => resolveQuirks(quirks, settingsOf('sf'))).toThrow('KEYTURN_PROVIDER_SF_HOST');
});

test.each(['simple-oauth2:*', '*', 'ioredis:*', 'express,simple-oauth2*', 'simple-oauth2:request-options', '*:client'])(
  'DEBUG=%s would print secrets and is refused',
  (value) => {
    expect(() => assertNoSecretDebug(value)).toThrow('DEBUG');
  },
);

test.each([undefined, '', 'express:*', '*,-simple-oauth2:*,-ioredis:*', 'simple-oauth2'])(
  'DEBUG=%s is harmless',
  (value) => {
    assertNoSecretDebug(value);
  },
);
