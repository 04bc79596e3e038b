import type { IncidentDoc } from '../src/shared/store/compromise/incidents.ts';

/** A contained incident about nothing in particular, found, opened and contained at `detectedAt`. It is not stored. `fields` come on top. */
export function incidentDoc(
  fields: Pick<IncidentDoc, '_id' | 'tenantId' | 'detectedAt'> & Partial<IncidentDoc>,
): IncidentDoc {
  return {
    status: 'contained',
    severity: 'high',
    confidence: 'confirmed',
    credentialId: null,
    principalId: null,
    service: null,
    subject: null,
    findings: [],
    alert: null,
    steps: [],
    waitingFor: null,
    approved: [],
    version: 1,
    attempts: 0,
    openedAt: fields.detectedAt,
    containedAt: fields.detectedAt,
    acknowledged: null,
    resolved: null,
    ...fields,
  };
}
