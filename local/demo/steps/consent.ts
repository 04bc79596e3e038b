import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { openBrowser } from '../../browser.ts';
import { bodyOf, check, release, shown } from '../check.ts';
import type { Story } from '../steps.ts';
import { eventually, type World } from '../world.ts';

const SUBJECT = 'ada';

/** Consent in a browser, code and token exchange by the workers, and the first release. */
export async function connect(world: World, story: Story): Promise<string[]> {
  await consent(world);
  story.credentialId = await active(world, 1);
  const { accessToken, expiresAt } = bodyOf(await release(world, story.credentialId), 200);
  check(await isActive(world, accessToken), 'the provider to take the token');
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
  const headers = signed(source.secret, body);
  const startedAt = performance.now();
  const since = () => Math.round(performance.now() - startedAt);
  bodyOf(await world.call('POST', new URL(source.url).pathname, body, headers), 202);
  check((await release(world, credentialId)).status === 409, 'the release to be refused');
  const refusedMs = since();
  await eventually('the token to be dead at the provider', async () => !(await isActive(world, accessToken)));
  const deadMs = since();
  const incident = await eventually('the incident to be contained', async () => {
    const { items } = bodyOf(await world.call('GET', `/v1/incidents?credentialId=${credentialId}`), 200);
    return items.find(({ status }: { status: string }) => status === 'contained');
  });
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
  check(await isActive(world, accessToken), 'the provider to take the new token');
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
  const doc = await eventually(`generation ${generation}`, async () => {
    const { items } = bodyOf(await world.call('GET', `/v1/credentials?subject=${SUBJECT}`), 200);
    return items.find(
      (one: { state: string; generation: number }) => one.state === 'active' && one.generation >= generation,
    );
  });
  return doc.id;
}

/** RFC 7662, asked by the client itself. */
async function isActive({ sandbox, client }: World, token: string): Promise<boolean> {
  const response = await fetch(`${sandbox.issuer}/token/introspection`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}` },
    body: new URLSearchParams({ token }),
  });
  return ((await response.json()) as { active: boolean }).active;
}

function signed(secret: string, body: string): Record<string, string> {
  const id = `msg_${randomBytes(8).toString('hex')}`;
  const at = new Date();
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  };
}
