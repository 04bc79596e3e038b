import { bodyOf, check } from '../check.ts';
import type { Story } from '../steps.ts';
import { eventually, type World } from '../world.ts';

/** A webhook that wants every entry about credentials and incidents. */
export async function subscribe({ call, receiver }: World): Promise<string[]> {
  const made = await call('POST', '/v1/subscriptions', {
    name: 'incident desk',
    sink: 'webhook',
    settings: { url: receiver.url },
    filter: { types: ['credential.*', 'incident.*'] },
  });
  receiver.trust(bodyOf(made, 201).secret);
  return [`a webhook at ${receiver.url}, signed by the Standard Webhooks scheme`];
}

/** All of the story arrived, and nothing that was not signed. */
export async function deliver({ receiver }: World, { credentialId }: Story): Promise<string[]> {
  const wanted = ['credential.activated', 'credential.refreshed', 'credential.quarantined', 'incident.contained'];
  await eventually(`deliveries of ${wanted.join(', ')}`, async () => {
    const types = receiver.told.filter(({ data }) => data.credentialId === credentialId).map(({ type }) => type);
    return (
      wanted.every((type) => types.includes(type)) && receiver.told.some(({ type }) => type === 'credential.rotated')
    );
  });
  check(receiver.forged() === 0, 'every delivery to be signed');
  return [
    `${receiver.told.length} deliveries, all signatures good: ${[...new Set(receiver.told.map(({ type }) => type))].join(', ')}`,
  ];
}
