import { z } from 'zod';
import { INCIDENT_STATUSES, SEVERITIES } from '../store/compromise/incidents.ts';
import { CREDENTIAL_STATES } from '../store/lifecycle/credentials.ts';

const time = z.iso.datetime();
const count = z.number().int();
const days = z.number().meta({ description: 'Days, to a tenth' });

const credentialRow = z.object({ credentialId: z.string(), service: z.string(), subject: z.string() });

const serviceSchema = z.object({
  service: z.string(),
  states: z.partialRecord(z.enum(CREDENTIAL_STATES), count),
  withPolicy: count.meta({ description: 'Active credentials with a rotation policy' }),
  overdue: count,
  dormant: count,
  oldestDays: days.nullable().meta({ description: 'Age of the oldest secret that is active' }),
});

const logSchema = z.object({
  status: z.enum(['verified', 'tampered', 'not_checked']),
  entries: count,
  lastHash: z.string().nullable(),
  findings: z.array(z.object({ kind: z.string(), seq: count, entryId: z.string().nullable(), about: z.string() })),
  limits: z.array(z.string()).meta({ description: 'What this check could not have shown' }),
  checkpoint: z.object({ seq: count, at: time, kid: z.string() }).nullable(),
});

/** The compliance report of one tenant. Lists are cut off at 50 rows; counts are of everything. */
export const complianceSchema = z
  .object({
    generatedAt: time,
    tenant: z.object({ id: z.string(), name: z.string() }),
    dormantAfterDays: count,
    services: z.array(serviceSchema),
    ages: z
      .array(z.object({ fromDays: count, toDays: count.nullable(), credentials: count }))
      .meta({ description: 'Active secrets by age' }),
    overdue: z.object({
      count,
      items: z.array(credentialRow.extend({ ageDays: days, policyDays: days, step: z.string().nullable() })),
    }),
    dormant: z.object({ count, items: z.array(credentialRow.extend({ lastReleasedAt: time.nullable() })) }),
    keys: z.object({
      currentVersion: count.nullable(),
      coverage: z.number().min(0).max(1).meta({ description: 'Share of the secrets that are sealed under it' }),
      versions: z.array(
        z.object({ version: count, state: z.string(), createdAt: time.nullable(), credentials: count }),
      ),
    }),
    incidents: z.object({
      since: time,
      count,
      open: count.meta({ description: 'Not contained yet' }),
      bySeverity: z.partialRecord(z.enum(SEVERITIES), count),
      timeToContainMs: z.object({ p50: count, p90: count, most: count }).nullable(),
      items: z.array(
        z.object({
          id: z.string(),
          severity: z.enum(SEVERITIES),
          status: z.enum(INCIDENT_STATUSES),
          service: z.string().nullable(),
          detectedAt: time,
          containedInMs: count.nullable(),
        }),
      ),
    }),
    log: logSchema,
  })
  .meta({ id: 'ComplianceReport' });

export type ComplianceReport = z.infer<typeof complianceSchema>;
