/** A finding becomes an incident, or part of the one that is open for the same thing. */

import { newId } from '../platform/ids.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Change, Operation } from '../store/commit.ts';
import { type FindingDoc, findIncidentAbout, type IncidentDoc, SEVERITIES } from '../store/compromise/incidents.ts';
import { makeEntry } from '../store/entry.ts';
import { type CredentialDoc, findCredential } from '../store/lifecycle/credentials.ts';
import type { Finding } from './finding.ts';
import { hintPlaybook } from './playbook-hint.ts';

type CaseDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit' | 'hints' | 'log'>;

/** A rule's finding, and the thing that it is about. */
export type Found = {
  rule: string;
  finding: Finding;
  /** When the thing observed happened. The same rule at the same time is the same finding. */
  at: Date;
  tenantId: string;
  credentialId: string | null;
  principalId: string | null;
  /** The alert that brought it; its `reference` keeps reports that name no credential apart. */
  alert: (NonNullable<IncidentDoc['alert']> & { reference: string }) | null;
};

/** Operations and entries that commit with it, e.g. the event that it settles. */
export type Beside = { operations: Operation[]; entries: Entry[] };

const NOTHING: Beside = { operations: [], entries: [] };
const MAX_ATTEMPTS = 5;
const MAX_FINDINGS = 50;
/** When the playbook is looked at again should its hint get lost. Milliseconds. */
const RELAY_AFTER_MS = 5_000;

/** One case for one thing: repetitions find it. Resolves to the incident's id, or null when `beside` was done by another. */
export async function fileFinding(deps: CaseDeps, found: Found, beside: Beside = NOTHING): Promise<string | null> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const { tenantId } = found;
    const existing = await findIncidentAbout(deps.database, { tenantId, key: keyOf(found) });
    const credential = await credentialOf(deps, found);
    const isOver = existing?.status === 'contained' && credential?.state === 'active';
    const { incident, change } =
      existing && !isOver ? added(deps, existing, found) : opened(deps, found, credential, existing);
    const operations = [...change.operations, ...beside.operations];
    if (operations.length === 0) return incident._id;
    if ((await deps.commit({ operations, entries: [...change.entries, ...beside.entries] })) !== 'committed') continue;
    if (incident.status === 'open') await hintPlaybook(deps, incident._id, 'opened');
    return incident._id;
  }
  return null;
}

function keyOf({ credentialId, principalId, alert }: Found): string {
  if (credentialId !== null) return `credential:${credentialId}`;
  return alert ? `alert:${alert.source}:${alert.reference}` : `principal:${principalId}`;
}

async function credentialOf(deps: CaseDeps, { tenantId, credentialId }: Found): Promise<CredentialDoc | null> {
  if (credentialId === null) return null;
  return findCredential(deps.database, { tenantId, id: credentialId });
}

type Filed = { incident: IncidentDoc; change: Change };

/** `before`: the case of an earlier compromise, contained; the credential has a new secret since. */
function opened(deps: CaseDeps, found: Found, credential: CredentialDoc | null, before: IncidentDoc | null): Filed {
  const { tenantId, finding, alert } = found;
  const now = new Date(deps.clock.now());
  const acts = finding.confidence === 'confirmed' && credential !== null;
  const incident: IncidentDoc = {
    _id: newId('incident', deps),
    tenantId,
    key: keyOf(found),
    version: 1,
    status: acts ? 'open' : 'waiting',
    severity: finding.severity,
    confidence: finding.confidence,
    credentialId: found.credentialId,
    principalId: found.principalId,
    service: credential?.service ?? null,
    subject: credential?.subject ?? null,
    findings: [toDoc(deps, found)],
    alert: alert && toAlert(alert),
    steps: [],
    waitingFor: acts ? null : finding.confidence === 'confirmed' ? 'no_credential' : 'suspected',
    approved: [],
    attempts: 0,
    ...(acts && { dueAt: new Date(now.getTime() + RELAY_AFTER_MS) }),
    detectedAt: found.at,
    openedAt: now,
    containedAt: null,
    acknowledged: null,
    resolved: null,
  };
  const closing: Operation[] = before
    ? [
        {
          in: 'incidents',
          update: { _id: before._id, tenantId, version: before.version },
          set: { $set: { version: before.version + 1 }, $unset: { key: '' } },
        },
      ]
    : [];
  const entries = [entryOf(deps, incident, 'incident.opened', found)];
  return { incident, change: { operations: [...closing, { in: 'incidents', insert: incident }], entries } };
}

/** Nothing changes when this very finding is there already. */
function added(deps: CaseDeps, before: IncidentDoc, found: Found): Filed {
  const known = before.findings.some(({ rule, at }) => rule === found.rule && at.getTime() === found.at.getTime());
  if (known || before.findings.length >= MAX_FINDINGS)
    return { incident: before, change: { operations: [], entries: [] } };
  const { finding, tenantId } = found;
  const now = new Date(deps.clock.now());
  const escalates =
    before.waitingFor === 'suspected' && finding.confidence === 'confirmed' && before.credentialId !== null;
  const set: Partial<IncidentDoc> = {
    version: before.version + 1,
    severity: worse(before.severity, finding.severity),
    findings: [...before.findings, toDoc(deps, found)],
    ...(escalates && { confidence: 'confirmed', status: 'open', waitingFor: null, dueAt: now }),
    ...(escalates && found.alert && { alert: before.alert ?? toAlert(found.alert) }),
  };
  const incident = { ...before, ...set };
  const update = { _id: before._id, tenantId, version: before.version };
  return {
    incident,
    change: {
      operations: [{ in: 'incidents', update, set: { $set: set } }],
      entries: [entryOf(deps, incident, 'incident.finding_added', found)],
    },
  };
}

function toAlert({ id, source, kind, url }: NonNullable<Found['alert']>): IncidentDoc['alert'] {
  return { id, source, kind, url };
}

function worse(a: IncidentDoc['severity'], b: IncidentDoc['severity']): IncidentDoc['severity'] {
  return SEVERITIES.indexOf(a) >= SEVERITIES.indexOf(b) ? a : b;
}

function toDoc(deps: CaseDeps, { rule, finding, at }: Found): FindingDoc {
  return { id: newId('finding', deps), rule, ...finding, explanation: finding.explanation.slice(0, 500), at };
}

function entryOf(deps: CaseDeps, incident: IncidentDoc, type: string, { rule, finding }: Found): Entry {
  const { _id, tenantId, credentialId, service, subject, principalId } = incident;
  const { severity, confidence, explanation } = finding;
  return makeEntry(deps, {
    tenantId,
    type,
    actor: { kind: 'system', id: rule },
    credentialId,
    service,
    subject,
    incidentId: _id,
    reason: rule,
    detail: { severity, confidence, explanation, principalId, waitingFor: incident.waitingFor },
  });
}
