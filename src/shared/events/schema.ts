import { z } from 'zod';
import { describeProblem, problemSchema } from '../platform/problem-schema.ts';
import { isoOrNull } from '../platform/time.ts';
import type { EventDoc } from '../store/lifecycle/events.ts';
import type { Receipt } from './accept.ts';
import { EVENTS } from './catalogue.ts';
import { cloudEventSchema } from './cloud-event.ts';

/** Every event that is taken, with the data of its type. */
export const incomingEventSchema = z
  .union(
    Object.entries(EVENTS).map(([type, row]) => cloudEventSchema.extend({ type: z.literal(type), data: row.data })),
  )
  .meta({ id: 'Event' });

/** `application/cloudevents-batch+json`. */
export const batchSchema = z.array(incomingEventSchema).max(1000).meta({ id: 'EventBatch' });

/** What became of one event that was sent. */
export const receiptSchema = z.object({
  id: z.string().nullable().meta({ description: 'The id that the sender gave' }),
  eventId: z.string().optional().meta({ description: "Keyturn's id, for GET /v1/events/{id}" }),
  status: z.enum(['accepted', 'duplicate', 'rejected']),
  problem: problemSchema.optional(),
});

/** What became of the events that were sent, in their order. */
export const receiptsSchema = z.object({ results: z.array(receiptSchema) }).meta({ id: 'Receipts' });

/** A receipt as it is sent. */
export function viewReceipt(receipt: Receipt): z.infer<typeof receiptSchema> {
  if (receipt.status !== 'rejected') return receipt;
  return { ...receipt, problem: describeProblem(receipt.problem.code, receipt.problem.detail) };
}

/** How far an event is. */
export const eventSchema = z
  .object({
    id: z.string(),
    source: z.string(),
    sourceId: z.string(),
    type: z.string(),
    status: z.enum(['accepted', 'processing', 'succeeded', 'failed', 'parked']),
    attempts: z.number().int(),
    problem: problemSchema.nullable(),
    credentialId: z.string().nullable(),
    receivedAt: z.iso.datetime(),
    settledAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'EventProgress' });

/** The progress of an event; never its data, which may be secret. */
export function viewEvent(doc: EventDoc): z.infer<typeof eventSchema> {
  return {
    id: doc._id,
    source: doc.source,
    sourceId: doc.sourceId,
    type: doc.type,
    status: doc.status,
    attempts: doc.attempts,
    problem: doc.problem && describeProblem(doc.problem.code, doc.problem.detail),
    credentialId: doc.credentialId,
    receivedAt: doc.receivedAt.toISOString(),
    settledAt: isoOrNull(doc.settledAt),
  };
}

/** The reply of a call that asks for work on a credential. */
export const acceptedSchema = z.object({ eventId: z.string() }).meta({ id: 'Accepted' });
