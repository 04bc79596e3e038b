import { z } from 'zod';
import type { ChainedEntry } from '../store/audit/entries.ts';

/** An entry as the API and the sinks show it: without the tenant, which is the reader's own, and without the MAC. */
export const entrySchema = z
  .object({
    id: z.string(),
    seq: z.number().int(),
    at: z.iso.datetime(),
    type: z.string(),
    actor: z.object({
      kind: z.enum(['principal', 'worker', 'subject', 'system']),
      id: z.string(),
      ip: z.string().nullish(),
      userAgent: z.string().nullish(),
    }),
    outcome: z.enum(['success', 'failure', 'denied']),
    credentialId: z.string().nullable(),
    service: z.string().nullable(),
    subject: z.string().nullable(),
    eventId: z.string().nullable(),
    incidentId: z.string().nullable(),
    reason: z.string().nullable(),
    detail: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
    prev: z.string(),
    hash: z.string(),
  })
  .meta({ id: 'Entry', description: 'One record of the audit log; seq, prev and hash chain it to the one before' });

/** An entry as it is shown. */
export function viewEntry({ _id, at, tenantId: _, mac: __, ...doc }: ChainedEntry): z.infer<typeof entrySchema> {
  return { id: _id, at: at.toISOString(), ...doc };
}
