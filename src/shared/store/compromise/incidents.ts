/** `incidents`: the cases. */
import { type Indexes, whenPresent } from '../base/collection.ts';

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

export const INDEXES: Indexes = [
  { key: { tenantId: 1, _id: 1 } },
  // One open case for one thing.
  { key: { tenantId: 1, key: 1 }, unique: true, ...whenPresent('key') },
  { key: { tenantId: 1, credentialId: 1, _id: 1 } },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
  // The case that a token was revoked in.
  { key: { fingerprints: 1 }, ...whenPresent('fingerprints') },
];
