import { randomBytes } from 'node:crypto';
import { acceptEvents, type IntakeDeps, type Receipt, type Sender } from '../../src/shared/events/accept.ts';

/** The headers under which one CloudEvent is posted, and a batch of them (structured mode). */
export const STRUCTURED = { 'content-type': 'application/cloudevents+json' };
export const BATCH = { 'content-type': 'application/cloudevents-batch+json' };

/** A CloudEvent in the JSON format, with an id of its own. `attributes` come on top. */
export function cloudEvent<T>(type: string, data: T, attributes: Record<string, unknown> = {}) {
  const event = { specversion: '1.0', id: randomBytes(8).toString('hex'), source: 'urn:test', type, data };
  return { ...event, ...(attributes as Partial<typeof event>) };
}

/** The request that posts one CloudEvent. */
export function eventRequest(type: string, data: unknown): { headers: Record<string, string>; body: string } {
  return { headers: STRUCTURED, body: JSON.stringify(cloudEvent(type, data)) };
}

/** A principal that may do everything in its tenant. */
function senderOf(tenantId: string): Sender {
  return {
    principal: { _id: 'prn_test', tenantId, permissions: ['*:*'] },
    origin: { ip: '127.0.0.1', userAgent: 'test' },
    traceparent: null,
  };
}

/** Files an event as the API does, of a principal of `tenantId` that may do everything. */
export async function fileEvent(deps: IntakeDeps, type: string, data: unknown, tenantId = 'ten_a'): Promise<Receipt> {
  const [receipt] = await acceptEvents(deps, senderOf(tenantId), [cloudEvent(type, data)]);
  return receipt as Receipt;
}

/** Files an event that must be accepted. Its id. */
export async function sendEvent(deps: IntakeDeps, type: string, data: unknown): Promise<string> {
  const receipt = await fileEvent(deps, type, data);
  if (receipt.status !== 'accepted') throw new Error(`${type} was not accepted: ${JSON.stringify(receipt)}`);
  return receipt.eventId;
}
