import { Webhook } from 'standardwebhooks';
import { until } from '../../../testkit/until.ts';
import { bodyOf } from '../stage/check.ts';
import type { Story } from '../stage/contract.ts';
import type { World } from '../stage/world.ts';

type Told = { type: string; data: { credentialId?: string | null } };

/** A webhook that wants every entry about credentials and incidents. */
export async function subscribe({ call, receiver }: World, story: Story): Promise<string[]> {
  const url = `${receiver.url}/hook`;
  const made = await call('POST', '/v1/subscriptions', {
    name: 'incident desk',
    sink: 'webhook',
    settings: { url },
    filter: { types: ['credential.*', 'incident.*'] },
  });
  story.webhookSecret = bodyOf(made, 201).secret;
  return [`a webhook at ${url}, signed by the Standard Webhooks scheme`];
}

/** All of the story arrived, and nothing that was not signed. */
export async function deliver(world: World, story: Story): Promise<string[]> {
  const wanted = ['credential.activated', 'credential.refreshed', 'credential.quarantined', 'incident.contained'];
  const look = () => {
    const told = deliveries(world, story);
    const types = told.filter(({ data }) => data.credentialId === story.credentialId).map(({ type }) => type);
    const isWhole = wanted.every((type) => types.includes(type));
    return isWhole && told.some(({ type }) => type === 'credential.rotated') ? told : null;
  };
  const told = await until(look, { what: `signed deliveries of ${wanted.join(', ')}` });
  const types = [...new Set(told.map(({ type }) => type))];
  return [`${told.length} deliveries, all signatures good: ${types.join(', ')}`];
}

/** What came so far. Throws when one is not signed as the library of the Standard Webhooks scheme wants it. */
function deliveries({ receiver }: World, { webhookSecret }: Story): Told[] {
  const webhook = new Webhook(webhookSecret);
  return receiver.received.map(({ body, headers }) => webhook.verify(body, headers as Record<string, string>) as Told);
}
