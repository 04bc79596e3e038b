import { z } from 'zod';
import { isoOrNull } from '../platform/time.ts';
import type { AlertSourceDoc } from '../store/compromise/alert-sources.ts';
import {
  CONFIDENCES,
  INCIDENT_STATUSES,
  type IncidentDoc,
  RESOLUTIONS,
  SEVERITIES,
  STEPS,
  WAITS,
} from '../store/compromise/incidents.ts';

const time = z.iso.datetime();
const name = z.string().min(1).max(100);
const note = z.string().min(1).max(500);

export const newAlertSourceSchema = z
  .strictObject({
    source: z
      .string()
      .min(1)
      .max(40)
      .meta({ examples: ['github', 'generic'] }),
    name,
  })
  .meta({ id: 'NewAlertSource' });

export const alertSourceSchema = z
  .object({
    id: z.string(),
    source: z.string(),
    name,
    url: z.url().meta({ description: 'Where the party sends its alerts to' }),
    createdAt: time,
    revokedAt: time.nullable(),
  })
  .meta({ id: 'AlertSource' });

/** The only reply that ever holds the secret. */
export const createdAlertSourceSchema = alertSourceSchema
  .extend({ secret: z.string().meta({ description: 'Shown once: give it to the party that signs with it' }) })
  .meta({ id: 'CreatedAlertSource' });

/** An alert source as it is shown. */
export function viewAlertSource(doc: AlertSourceDoc, publicUrl: string): z.infer<typeof alertSourceSchema> {
  return {
    id: doc._id,
    source: doc.source,
    name: doc.name,
    url: `${publicUrl}/v1/alerts/${doc.source}/${doc._id}`,
    createdAt: doc.createdAt.toISOString(),
    revokedAt: isoOrNull(doc.revokedAt),
  };
}

export const incidentSchema = z
  .object({
    id: z.string(),
    status: z.enum(INCIDENT_STATUSES),
    severity: z.enum(SEVERITIES),
    confidence: z.enum(CONFIDENCES),
    credentialId: z.string().nullable(),
    principalId: z.string().nullable(),
    service: z.string().nullable(),
    subject: z.string().nullable(),
    findings: z.array(
      z.object({
        id: z.string(),
        rule: z.string(),
        severity: z.enum(SEVERITIES),
        confidence: z.enum(CONFIDENCES),
        explanation: z.string(),
        at: time,
      }),
    ),
    alert: z
      .object({ id: z.string(), source: z.string(), kind: z.string().nullable(), url: z.string().nullable() })
      .nullable(),
    steps: z
      .array(z.object({ name: z.enum(STEPS), at: time, outcome: z.string() }))
      .meta({ description: 'What the playbook has done' }),
    waitingFor: z.enum(WAITS).nullable().meta({ description: 'Why a person must act' }),
    detectedAt: time,
    openedAt: time,
    containedAt: time.nullable(),
    acknowledged: z.object({ by: z.string(), at: time }).nullable(),
    resolved: z
      .object({ by: z.string(), at: time, resolution: z.enum(RESOLUTIONS), note: z.string().nullable() })
      .nullable(),
  })
  .meta({ id: 'Incident', description: 'A case opened for a finding, and what was done' });

/** An incident as it is shown. */
export function viewIncident(doc: IncidentDoc): z.infer<typeof incidentSchema> {
  const { acknowledged, resolved } = doc;
  return {
    id: doc._id,
    status: doc.status,
    severity: doc.severity,
    confidence: doc.confidence,
    credentialId: doc.credentialId,
    principalId: doc.principalId,
    service: doc.service,
    subject: doc.subject,
    findings: doc.findings.map((finding) => ({ ...finding, at: finding.at.toISOString() })),
    alert: doc.alert,
    steps: doc.steps.map((step) => ({ ...step, at: step.at.toISOString() })),
    waitingFor: doc.waitingFor,
    detectedAt: doc.detectedAt.toISOString(),
    openedAt: doc.openedAt.toISOString(),
    containedAt: isoOrNull(doc.containedAt),
    acknowledged: acknowledged && { by: acknowledged.by, at: acknowledged.at.toISOString() },
    resolved: resolved && { ...resolved, at: resolved.at.toISOString() },
  };
}

export const acknowledgeSchema = z
  .strictObject({
    proceed: z
      .boolean()
      .default(false)
      .meta({ description: 'Lets the playbook go on: past the cap of revocations, or on a suspicion' }),
  })
  .nullish()
  .meta({ id: 'Acknowledgement' });

export const resolveSchema = z
  .strictObject({
    resolution: z.enum(RESOLUTIONS).meta({
      description: 'After a `false_alarm` the credential is restored, unless it was revoked at the provider already',
    }),
    note: note.optional(),
  })
  .meta({ id: 'ResolutionOfIncident' });
