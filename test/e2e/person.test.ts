import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../local/tools/ports.ts';
import { openChromium } from '../../testkit/processes/chromium.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { acmeOn, authorize, type Keyturn, makeKeyturn } from './support.ts';

const env = testEnvironment();
let server: AuthorizationServer;
let keyturn: Keyturn;

beforeAll(async () => {
  const port = await freePort();
  const redirectUri = `http://127.0.0.1:${port}/v1/oauth/callback`;
  server = await startAuthorizationServer({ redirectUri, autoConsent: false });
  keyturn = await makeKeyturn({ ...env, ...acmeOn(server), KEYTURN_PORT: String(port) });
  await Promise.all([keyturn.startApi(), keyturn.startWorkers()]);
});

afterAll(async () => {
  await server?.stop();
});

/** A browser that is closed after the test. The first one may have to be installed. */
async function newPerson(): Promise<BrowserContext> {
  const { context, close } = await openChromium();
  onTestFinished(close);
  return context;
}

/** Opens the link and stands before the provider's question. */
async function openConsent(context: BrowserContext, subject: string): Promise<Page> {
  const page = await context.newPage();
  await page.goto(await authorize(keyturn, 'acme', subject));
  await page.getByText('SANDBOX').first().waitFor();
  return page;
}

describe('a person in a real browser', { timeout: 400_000 }, () => {
  test('connects an account, and is told so', async () => {
    const page = await openConsent(await newPerson(), 'ada');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('heading', { name: 'You are connected' }).waitFor();
    expect(await keyturn.credentials({ subject: 'ada' })).toMatchObject([{ state: 'active' }]);
  });

  test('declines, and nothing is connected', async () => {
    const page = await openConsent(await newPerson(), 'bob');
    await page.getByRole('button', { name: 'Decline' }).click();
    await page.getByRole('heading', { name: 'did not succeed' }).waitFor();
    expect(await keyturn.credentials({ subject: 'bob' })).toEqual([]);
  });

  test('cannot go on with what another browser began', async () => {
    const link = await authorize(keyturn, 'acme', 'cyd');
    const first = await (await newPerson()).newPage();
    await first.goto(link);
    const second = await (await newPerson()).newPage();
    await second.goto(link);
    await second.getByRole('heading', { name: 'did not succeed' }).waitFor();
    await first.getByRole('button', { name: 'Continue' }).click();
    await first.getByRole('heading', { name: 'You are connected' }).waitFor();
  });

  test('reads the API reference, which loads without an error', async () => {
    const page = await (await newPerson()).newPage();
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(`${keyturn.baseUrl}/docs`);
    await page.getByText('/v1/authorizations').first().waitFor();
    expect(errors).toEqual([]);
  });
});
