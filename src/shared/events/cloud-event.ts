import { z } from 'zod';

const nonEmpty = (max: number) => z.string().min(1).max(max);

/**
 * The context attributes of CloudEvents 1.0 that Keyturn reads, and the extensions `traceparent` and `keyturnsignature`.
 * Other extensions are accepted and dropped; names follow the specification (lower-case letters and digits).
 */
export const cloudEventSchema = z
  .object({
    specversion: z.literal('1.0'),
    id: nonEmpty(255),
    /** URI-reference (CloudEvents 1.0 §3.1.1). */
    source: nonEmpty(1024),
    type: nonEmpty(255),
    subject: nonEmpty(1024).optional(),
    time: z.iso.datetime({ offset: true }).optional(),
    datacontenttype: z
      .string()
      .regex(/^application\/(?:[a-z.+-]+\+)?json\b/i, 'must be a JSON media type')
      .optional(),
    dataschema: z.string().max(1024).optional(),
    traceparent: z
      .string()
      .regex(/^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/)
      .optional(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'CloudEvent', description: 'CloudEvents 1.0 in the JSON format' });

export type CloudEvent = z.infer<typeof cloudEventSchema>;
