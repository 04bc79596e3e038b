/** `incidents`: the cases. */
import { lowestIdAt } from '../../platform/ids.ts';
import { BOUNDED, type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
import { type Fingerprinted, fingerprintsUnder } from '../base/document.ts';
import type { DueDate } from '../base/due-date.ts';
import { type IdPage, idBefore } from '../base/page.ts';

/** How bad it is, in rising order. */
export const SEVERITIES = ['low', 'medium', 'high', 'critical'] as const;

export type Severity = (typeof SEVERITIES)[number];

/** `confirmed`: contained before anyone is asked. `suspected`: a person decides. */
export const CONFIDENCES = ['suspected', 'confirmed'] as const;

export type Confidence = (typeof CONFIDENCES)[number];

/** A rule's verdict on an observation. */
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

/** A step that is done. */
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

/** The case of one credential, principal or unknown secret. */
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
  /** When the first thing observed happened. */
  detectedAt: Date;
  openedAt: Date;
  containedAt: Date | null;
  acknowledged: { by: string; at: Date } | null;
  resolved: { by: string; at: Date; resolution: Resolution; note: string | null } | null;
};

/** How a person ends a case. */
export const RESOLUTIONS = ['handled', 'false_alarm'] as const;

export type Resolution = (typeof RESOLUTIONS)[number];

export const INDEXES: Indexes = [
  // The list of a tenant's cases, and those since a time: ids begin with it.
  { key: { tenantId: 1, _id: 1 } },
  // One open case for one thing.
  { key: { tenantId: 1, key: 1 }, unique: true, ...whenPresent('key') },
  // The cases of one credential.
  { key: { tenantId: 1, credentialId: 1, _id: 1 } },
  // The sweep.
  { key: { dueAt: 1 }, ...whenPresent('dueAt') },
  // The case that a token was revoked in.
  { key: { fingerprints: 1 }, ...whenPresent('fingerprints') },
];

/** Playbooks that wait or were interrupted. */
export const DUE: DueDate = { in: 'incidents', field: 'dueAt', read: [] };

const incidents = ({ db }: HasDb) => db.collection<IncidentDoc>('incidents');

/**
 * The cases in which tokens with these keyed fingerprints were revoked, by index. A fingerprint counts only in the tenant
 * whose key made it. A case that names no credential is left out.
 */
export async function findIncidentsByFingerprint(
  database: HasDb,
  { tenantIds, fingerprints }: { tenantIds: string[]; fingerprints: string[] },
): Promise<Fingerprinted[]> {
  const where = { fingerprints: { $in: fingerprints }, tenantId: { $in: tenantIds } };
  const projection = { tenantId: 1, fingerprints: 1, credentialId: 1 };
  const found = await incidents(database).find(where, { projection }).toArray();
  return found.flatMap(({ tenantId, credentialId, fingerprints: all = [] }) =>
    credentialId === null ? [] : [{ tenantId, credentialId, fingerprints: all }],
  );
}

/** What the compliance report shows of a case. */
export type ReportedIncident = Pick<
  IncidentDoc,
  '_id' | 'severity' | 'status' | 'service' | 'detectedAt' | 'containedAt'
>;

/** A tenant's cases since then (milliseconds since the epoch), the newest first. By index: ids begin with their time. */
export function listIncidentsSince(
  database: HasDb,
  { tenantId, since, limit }: { tenantId: string; since: number; limit: number },
): Promise<ReportedIncident[]> {
  const projection = { severity: 1, status: 1, service: 1, detectedAt: 1, containedAt: 1 };
  return incidents(database)
    .find<ReportedIncident>({ tenantId, _id: { $gte: lowestIdAt('incident', since) } }, { projection, ...BOUNDED })
    .sort({ _id: -1 })
    .limit(limit)
    .toArray();
}

/** Whether a case of the tenant has a fingerprint under that version of its key. */
export async function hasIncidentFingerprint(
  database: HasDb,
  { tenantId, version }: { tenantId: string; version: number },
): Promise<boolean> {
  const where = { tenantId, fingerprints: fingerprintsUnder(version) };
  return (await incidents(database).findOne(where, { projection: { _id: 1 } })) !== null;
}

/** No case of a tenant is due any more: its playbook rests. */
export async function clearIncidentDueDates(database: HasDb, tenantId: string): Promise<void> {
  await incidents(database).updateMany({ tenantId }, { $unset: { dueAt: '' } });
}

/** One case; null where the tenant has none of that id. */
export function findIncident(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<IncidentDoc | null> {
  return incidents(database).findOne({ _id: id, tenantId });
}

/** A tenant's cases, newest first. What is left out narrows nothing. */
export function listIncidents(
  database: HasDb,
  page: IdPage & { status?: IncidentStatus | undefined; credentialId?: string | undefined },
): Promise<IncidentDoc[]> {
  const { tenantId, after, limit, status, credentialId } = page;
  const narrowed = { ...(status !== undefined && { status }), ...(credentialId !== undefined && { credentialId }) };
  return incidents(database)
    .find({ tenantId, ...narrowed, ...idBefore(after) })
    .sort({ _id: -1 })
    .limit(limit)
    .toArray();
}

/** One case. Without a tenant: the id is from a job's payload, which names no tenant. */
export function findIncidentById(database: HasDb, id: string): Promise<IncidentDoc | null> {
  return incidents(database).findOne({ _id: id });
}

/** The case about one thing that is not over, by the unique index; null where there is none. */
export function findIncidentAbout(
  database: HasDb,
  { tenantId, key }: { tenantId: string; key: string },
): Promise<IncidentDoc | null> {
  return incidents(database).findOne({ tenantId, key });
}

/** Has an open case looked at again at `dueAt`, unless it has changed since it was read. */
export async function postponeIncident(
  database: HasDb,
  { _id, tenantId, version }: Pick<IncidentDoc, '_id' | 'tenantId' | 'version'>,
  { dueAt, attempts }: { dueAt: Date; attempts: number },
): Promise<void> {
  const read = { _id, tenantId, version, status: 'open' as const };
  await incidents(database).updateOne(read, { $set: { dueAt, attempts, version: version + 1 } });
}
