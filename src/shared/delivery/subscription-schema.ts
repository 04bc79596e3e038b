import { z } from 'zod';
import { isoOrNull } from '../platform/time.ts';
import type { DeliveryDoc } from '../store/delivery/deliveries.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';

const name = z.string().min(1).max(100);
const time = z.iso.datetime();

/** `*` stands for any characters. */
const typePattern = z.string().regex(/^[a-z0-9_.*-]{1,80}$/, 'may hold lower case letters, digits, _ . - and *');

const filter = z.strictObject({
  types: z
    .array(typePattern)
    .max(50)
    .default([])
    .meta({ description: 'Entry types; `*` stands for any characters. Empty: all', examples: [['credential.*']] }),
  services: z.array(z.string().min(1).max(40)).max(50).default([]).meta({ description: 'Empty: all' }),
  outcomes: z
    .array(z.enum(['success', 'failure', 'denied']))
    .max(3)
    .default([])
    .meta({ description: 'Empty: all' }),
});

/** A secret that the subscriber gives, where the sink takes one. */
const givenSecret = z.string().min(1).max(4_000).meta({ description: 'Sealed; never shown again' });

export const newSubscriptionSchema = z
  .strictObject({
    name,
    sink: z
      .string()
      .max(40)
      .meta({ examples: ['webhook'] }),
    settings: z.record(z.string(), z.unknown()).default({}).meta({ description: "Checked by the sink's own schema" }),
    filter: filter.prefault({}),
    secret: givenSecret.optional(),
  })
  .meta({ id: 'NewSubscription' });

export const subscriptionChangesSchema = z
  .strictObject({
    name: name.optional(),
    settings: z.record(z.string(), z.unknown()).optional(),
    filter: filter.optional(),
  })
  .meta({ id: 'SubscriptionChanges' });

export const secretRotationSchema = z
  .strictObject({
    overlapSeconds: z
      .number()
      .int()
      .min(0)
      .max(7 * 86_400)
      .default(86_400)
      .meta({ description: 'How long the old secret stays valid' }),
    secret: givenSecret.optional(),
  })
  .meta({ id: 'SecretRotation' });

export const replaySchema = z
  .strictObject({ fromSeq: z.number().int().min(1).meta({ description: 'Entries from here on are told again' }) })
  .meta({ id: 'Replay' });

export const subscriptionSchema = z
  .object({
    id: z.string(),
    name,
    sink: z.string(),
    settings: z.record(z.string(), z.unknown()),
    filter,
    state: z.enum(['active', 'paused', 'disabled']),
    cursor: z.number().int().meta({ description: 'Entries up to this seq were told, or have a delivery of their own' }),
    failures: z.number().int().meta({ description: 'Failed attempts in a row' }),
    lastError: z.object({ reason: z.string(), status: z.number().int().nullable(), at: time }).nullable(),
    notBefore: time.nullable().meta({ description: 'The consumer is left alone until then' }),
    secretsValidUntil: z.array(time.nullable()).meta({ description: 'One for each secret, newest first' }),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: 'Subscription' });

/** The only replies that ever hold a secret, and only one that we made. */
export const createdSubscriptionSchema = subscriptionSchema
  .extend({ secret: z.string().nullable().meta({ description: 'Shown once; null where we made none' }) })
  .meta({ id: 'CreatedSubscription' });

/** A subscription as it is shown. */
export function viewSubscription(doc: SubscriptionDoc): z.infer<typeof subscriptionSchema> {
  const { _id, name, sink, settings, filter, state, cursor, failures, lastError } = doc;
  return {
    id: _id,
    name,
    sink,
    settings,
    filter,
    state,
    cursor,
    failures,
    lastError: lastError && { ...lastError, at: lastError.at.toISOString() },
    notBefore: isoOrNull(doc.notBefore),
    secretsValidUntil: doc.secrets.map(({ until }) => isoOrNull(until)),
    createdAt: doc.createdAt.toISOString(),
    updatedAt: doc.updatedAt.toISOString(),
  };
}

export const deliverySchema = z
  .object({
    id: z.string(),
    seq: z.number().int(),
    entryId: z.string(),
    type: z.string(),
    status: z.enum(['delivered', 'retrying', 'parked']),
    attempts: z.number().int(),
    lastError: z.object({ reason: z.string(), status: z.number().int().nullable() }).nullable(),
    firstAttemptAt: time,
    lastAttemptAt: time,
    nextAttemptAt: time.nullable(),
  })
  .meta({
    id: 'Delivery',
    description: 'Parked ones stay until they are replayed; the record of a success is kept for a week',
  });

/** A delivery as it is shown. */
export function viewDelivery(doc: DeliveryDoc): z.infer<typeof deliverySchema> {
  const { _id, seq, entryId, type, status, attempts, lastError } = doc;
  return {
    id: _id,
    seq,
    entryId,
    type,
    status,
    attempts,
    lastError,
    firstAttemptAt: doc.firstAttemptAt.toISOString(),
    lastAttemptAt: doc.lastAttemptAt.toISOString(),
    nextAttemptAt: isoOrNull(doc.nextAttemptAt ?? null),
  };
}
