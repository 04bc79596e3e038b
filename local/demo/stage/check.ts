import type { Answer } from '../../../testkit/messages/caller.ts';
import { cloudEvent, STRUCTURED } from '../../../testkit/messages/events.ts';
import { until } from '../../../testkit/until.ts';
import type { World } from './world.ts';

/** Throws what was expected when it is not so. */
export function check(holds: boolean, expected: string): asserts holds {
  if (!holds) throw new Error(`expected ${expected}`);
}

/** The body of a reply with this status. Throws with the problem of any other. */
export function bodyOf(reply: Answer, status: number): Answer['body'] {
  const { type = '', detail = '' } = reply.body ?? {};
  check(reply.status === status, `status ${status}, got ${reply.status} ${type} ${detail}`.trim());
  return reply.body;
}

/** Sends a CloudEvent and waits until it is settled. Throws with its problem when it fails. Resolves to the credential's id. */
export async function settle(world: World, type: string, data: Record<string, unknown>): Promise<string> {
  const sent = await world.call('POST', '/v1/events', cloudEvent(type, data, { source: 'urn:demo' }), STRUCTURED);
  return settled(world, bodyOf(sent, 202).results[0].eventId);
}

/** Waits until an event is settled, and resolves to the credential's id. Throws with its problem when it failed. */
export async function settled(world: World, eventId: string): Promise<string> {
  const look = async () => {
    const event = bodyOf(await world.call('GET', `/v1/events/${eventId}`), 200);
    return ['accepted', 'processing'].includes(event.status) ? null : event;
  };
  const done = await until(look, { what: `event ${eventId}` });
  check(done.status === 'succeeded', `${done.type} to succeed: ${done.problem?.detail ?? done.problem?.title}`);
  return done.credentialId;
}

/** Releases a credential's token, as an app does. */
export async function release(world: World, credentialId: string): Promise<Answer> {
  return world.call('GET', `/v1/credentials/${credentialId}/token`);
}

/** Enough of a secret to recognise it, and no more. */
export function shown(secret: string): string {
  return `${secret.slice(0, 6)}…`;
}
