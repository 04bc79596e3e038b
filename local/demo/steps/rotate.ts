import { isClientSecretGood, registerClient } from '../../../testkit/providers/oauth-client.ts';
import { until } from '../../../testkit/until.ts';
import { bodyOf, check, release, settle, settled, shown } from '../stage/check.ts';
import type { World } from '../stage/world.ts';

/** A client of its own at the authorization server, imported with its secret, then rotated without overlap. */
export async function rotate(world: World): Promise<string[]> {
  const { issuer } = world.sandbox;
  const machine = { grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
  const client = await registerClient(issuer, machine);
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
  await until(async () => !(await isGood(issuer, old)), { what: 'the old secret to be retired' });
  return [
    `${shown(old.accessToken)} → ${shown(fresh.accessToken)}: the new one was tested before the old one was retired`,
  ];
}

type Released = { accessToken: string; metadata: Record<string, string> };

function isGood(issuer: string, { accessToken, metadata }: Released): Promise<boolean> {
  return isClientSecretGood(issuer, { clientId: metadata.client_id!, clientSecret: accessToken });
}
