import { signedHeaders } from '../../../testkit/messages/signed.ts';
import { isTokenActive } from '../../../testkit/providers/oauth-client.ts';
import { until } from '../../../testkit/until.ts';
import { openBrowser } from '../../tools/browser.ts';
import { bodyOf, check, release, shown } from '../stage/check.ts';
import type { Story } from '../stage/contract.ts';
import type { World } from '../stage/world.ts';

const SUBJECT = 'ada';

/** Consent in a browser, code and token exchange by the workers, and the first release. */
export async function connect(world: World, story: Story): Promise<string[]> {
  await consent(world);
  story.credentialId = await active(world, 1);
  const { accessToken, expiresAt } = bodyOf(await release(world, story.credentialId), 200);
  check(await isTokenActive(world.client, accessToken), 'the provider to take the token');
  return [`${story.credentialId} is active`, `its token ${shown(accessToken)} is released, good until ${expiresAt}`];
}

/** A signed alert with the token in it: released no more at once, then dead at the provider, then the case is contained. */
export async function contain(world: World, { credentialId }: Story): Promise<string[]> {
  const { accessToken } = bodyOf(await release(world, credentialId), 200);
  const source = bodyOf(
    await world.call('POST', '/v1/alert-sources', { source: 'generic', name: 'leak scanner' }),
    201,
  );
  const body = JSON.stringify({ token: accessToken, type: 'sandbox_token', url: 'https://paste.example/42' });
  const headers = signedHeaders(body, { secret: source.secret });
  const startedAt = performance.now();
  const since = () => Math.round(performance.now() - startedAt);
  bodyOf(await world.call('POST', new URL(source.url).pathname, body, headers), 202);
  check((await release(world, credentialId)).status === 409, 'the release to be refused');
  const refusedMs = since();
  const isDead = async () => !(await isTokenActive(world.client, accessToken));
  await until(isDead, { what: 'the token to be dead at the provider' });
  const deadMs = since();
  const look = async () => {
    const { items } = bodyOf(await world.call('GET', `/v1/incidents?credentialId=${credentialId}`), 200);
    return items.find(({ status }: { status: string }) => status === 'contained');
  };
  const incident = await until(look, { what: 'the incident to be contained' });
  const containedMs = Date.parse(incident.containedAt) - Date.parse(incident.detectedAt);
  return [
    `the alert is a signed POST; ${refusedMs} ms after it was sent the release is refused`,
    `${deadMs} ms: the provider itself calls the token inactive`,
    `${incident.id} contained in ${containedMs} ms: ${incident.steps.map(({ name }: { name: string }) => name).join(' → ')}`,
  ];
}

/** The way back: a new consent, a new token. */
export async function reconnect(world: World, { credentialId }: Story): Promise<string[]> {
  const before = bodyOf(await world.call('GET', `/v1/credentials/${credentialId}`), 200);
  check(before.state === 'reauthorization_required', `a new consent to be asked for, not ${before.state}`);
  await consent(world);
  await active(world, before.generation + 1);
  const { accessToken, generation } = bodyOf(await release(world, credentialId), 200);
  check(await isTokenActive(world.client, accessToken), 'the provider to take the new token');
  return [`generation ${generation}, token ${shown(accessToken)}: the app goes on`];
}

async function consent(world: World): Promise<void> {
  const wanted = { service: 'sandbox', subject: SUBJECT };
  const { authorizationUrl } = bodyOf(await world.call('POST', '/v1/authorizations', wanted), 201);
  const { response } = await openBrowser().follow(authorizationUrl);
  const page = (await response?.text()) ?? '';
  check(response?.status === 200 && /<h1>(You are connected|Almost done)/.test(page), 'a page that says so');
}

async function active(world: World, generation: number): Promise<string> {
  const look = async () => {
    const { items } = bodyOf(await world.call('GET', `/v1/credentials?subject=${SUBJECT}`), 200);
    return items.find(
      (one: { state: string; generation: number }) => one.state === 'active' && one.generation >= generation,
    );
  };
  const doc = await until(look, { what: `generation ${generation}` });
  return doc.id;
}
