/** What lies in MongoDB about compromise: who may send alerts, and the cases that came of them. */
import type { StoredSecret } from '../sealing/contract.ts';

/** A party that may send alerts to a tenant, with the secret that its deliveries are signed with. */
export type AlertSourceDoc = {
  _id: string;
  tenantId: string;
  /** Name of the plug-in in `api/alert-sources/`. */
  source: string;
  name: string;
  /** Sealed, bound to this document, generation 1. */
  secret: StoredSecret;
  createdAt: Date;
  revokedAt: Date | null;
};

export const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** `confirmed`: contained before anyone is asked. `suspected`: a person decides. */
export const CONFIDENCES = ['suspected', 'confirmed'] as const;
export type Confidence = (typeof CONFIDENCES)[number];

/** A rule's verdict on a signal. */
export type FindingDoc = {
  id: string;
  rule: string;
  severity: Severity;
  confidence: Confidence;
  /** For a person: what was seen and why it matters. Never holds a secret. */
  explanation: string;
  at: Date;
};

/** `open`: the playbook runs. `waiting`: a person must act. `contained`: done, to be looked at. */
export const INCIDENT_STATUSES = ['open', 'waiting', 'contained', 'resolved'] as const;
export type IncidentStatus = (typeof INCIDENT_STATUSES)[number];

/** The steps of the playbook, in order. */
export const STEPS = [
  'release_blocked',
  'revoked_at_provider',
  'revocation_confirmed',
  'replacement_requested',
] as const;
export type StepName = (typeof STEPS)[number];

export type StepDoc = { name: StepName; at: Date; outcome: string };

/** Why an incident waits for a person. */
export const WAITS = [
  'suspected',
  'no_credential',
  'revocation_cap',
  'provider_cannot_revoke',
  'still_active',
  'replaced_meanwhile',
] as const;
export type WaitReason = (typeof WAITS)[number];

export type IncidentDoc = {
  _id: string;
  tenantId: string;
  /** What it is about, e.g. `credential:cred_…`. Unique in the tenant while present; absent once the case is over. */
  key?: string;
  status: IncidentStatus;
  severity: Severity;
  confidence: Confidence;
  credentialId: string | null;
  principalId: string | null;
  service: string | null;
  subject: string | null;
  findings: FindingDoc[];
  /** The alert that opened it: what its automatic revocations are counted against. */
  alert: { id: string; source: string; kind: string | null; url: string | null } | null;
  steps: StepDoc[];
  waitingFor: WaitReason | null;
  /** What it waited for and a person let it go on past. */
  approved: WaitReason[];
  /** Adds one with every write: a write names the one that it read. */
  version: number;
  /** Failures of the present step in a row. */
  attempts: number;
  /** Of the tokens that were revoked: a late alert about one finds this case, not the credential's new secret. */
  fingerprints?: string[];
  /** When the playbook is next due; absent when it has nothing to do. */
  dueAt?: Date;
  /** When the first signal came in. */
  detectedAt: Date;
  openedAt: Date;
  containedAt: Date | null;
  acknowledged: { by: string; at: Date } | null;
  resolved: { by: string; at: Date; resolution: Resolution; note: string | null } | null;
};

export const RESOLUTIONS = ['handled', 'false_alarm'] as const;
export type Resolution = (typeof RESOLUTIONS)[number];

/** Which incidents one alert may revoke for by itself. `_id`: `<tenantId>/<alert id>`. */
export type RevocationBudgetDoc = { _id: string; tenantId: string; incidentIds: string[]; expiresAt: Date };

/** How far the rules have read a tenant's log. `_id` is the tenant's. */
export type DetectCursorDoc = { _id: string; tenantId: string; seq: number };
