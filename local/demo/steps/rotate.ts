import { bodyOf, check, release, settle, settled, shown } from '../check.ts';
import { eventually, type World } from '../world.ts';

/** A client of its own at the authorization server, imported with its secret, then rotated without overlap. */
export async function rotate(world: World): Promise<string[]> {
  const { issuer } = world.sandbox;
  const client = await register(issuer);
  const credentialId = await settle(world, 'credential.import.requested', {
    service: 'sandbox',
    subject: 'nightly-job',
    kind: 'client_secret',
    accessToken: client.client_secret,
    registrationAccessToken: client.registration_access_token,
    overlapSeconds: 0,
    metadata: {
      client_id: client.client_id,
      registration_client_uri: client.registration_client_uri,
      registration_endpoint: `${issuer}/reg`,
      token_url: `${issuer}/token`,
    },
  });
  const old = bodyOf(await release(world, credentialId), 200);
  check(await isGood(issuer, old), 'the imported secret to be good');
  const { eventId } = bodyOf(await world.call('POST', `/v1/credentials/${credentialId}/rotate`, {}), 202);
  await settled(world, eventId);
  const fresh = bodyOf(await release(world, credentialId), 200);
  check(fresh.accessToken !== old.accessToken && (await isGood(issuer, fresh)), 'the new secret to be good');
  await eventually('the old secret to be retired', async () => !(await isGood(issuer, old)));
  return [
    `${shown(old.accessToken)} → ${shown(fresh.accessToken)}: the new one was tested before the old one was retired`,
  ];
}

async function register(issuer: string): Promise<Record<string, string>> {
  const response = await fetch(`${issuer}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ grant_types: ['client_credentials'], redirect_uris: [], response_types: [] }),
  });
  check(response.status === 201, `a registered client, got ${response.status}`);
  return (await response.json()) as Record<string, string>;
}

type Released = { accessToken: string; metadata: Record<string, string> };

async function isGood(issuer: string, { accessToken, metadata }: Released): Promise<boolean> {
  const basic = Buffer.from(`${metadata.client_id}:${accessToken}`).toString('base64');
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}` },
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  await response.body?.cancel();
  return response.status === 200;
}
