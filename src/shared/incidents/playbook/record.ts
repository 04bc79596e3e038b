/** How what happens to an incident becomes durable: with its entry, under compare-and-set on its version (promise 6). */

import { AppError } from '../../platform/errors.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import {
  type IncidentDoc,
  postponeIncident,
  type StepName,
  type WaitReason,
} from '../../store/compromise/incidents.ts';
import { makeEntry } from '../../store/entry.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { persist } from '../../work/outages.ts';
import type { Beside } from '../case-file.ts';

type RecordDeps = Pick<WorkerDeps, 'commit' | 'clock' | 'random' | 'log' | 'workerId' | 'database'>;

/** A step that is done, and what commits with it. */
export type Done = { name: StepName; outcome: string; beside?: Partial<Beside> };

/** Records a step of the playbook with its time. Throws `interrupted` when someone else was faster. */
export async function recordStep(
  deps: RecordDeps,
  incident: IncidentDoc,
  { name, outcome, beside = {} }: Done,
  signal: AbortSignal,
): Promise<IncidentDoc> {
  const at = new Date(deps.clock.now());
  const set = { steps: [...incident.steps, { name, at, outcome }], attempts: 0 };
  const entry = entryOf(deps, incident, `incident.${name}`, { outcome });
  return write(deps, incident, { set, entries: [entry], beside }, signal);
}

/** The last step's record is the end of the playbook: contained, to be looked at by a person. */
export async function recordContained(
  deps: RecordDeps,
  incident: IncidentDoc,
  { name, outcome, beside = {} }: Done,
  more: { set?: Partial<IncidentDoc>; signal: AbortSignal },
): Promise<IncidentDoc> {
  const at = new Date(deps.clock.now());
  const steps = [...incident.steps, { name, at, outcome }];
  const containedInMs = at.getTime() - incident.detectedAt.getTime();
  const set = { ...more.set, steps, attempts: 0, status: 'contained' as const, containedAt: at };
  const entries = [
    entryOf(deps, incident, `incident.${name}`, { outcome }),
    entryOf(deps, incident, 'incident.contained', { severity: incident.severity, containedInMs }),
  ];
  return write(deps, incident, { set, entries, beside, unset: { dueAt: '' } }, more.signal);
}

/** The playbook stops and says so: a person must act. */
export async function recordWait(
  deps: RecordDeps,
  incident: IncidentDoc,
  waitingFor: WaitReason,
  signal: AbortSignal,
): Promise<IncidentDoc> {
  const entry = entryOf(deps, incident, 'incident.waiting', { severity: incident.severity }, waitingFor);
  const set = { status: 'waiting' as const, waitingFor, attempts: 0 };
  return write(deps, incident, { set, entries: [entry], unset: { dueAt: '' } }, signal);
}

/** When the playbook goes on. Nothing happened that the log should tell. */
export async function postpone(
  deps: Pick<WorkerDeps, 'database' | 'clock'>,
  incident: IncidentDoc,
  { delayMs, counts }: { delayMs: number; counts: boolean },
): Promise<void> {
  const dueAt = new Date(deps.clock.now() + delayMs);
  await postponeIncident(deps.database, incident, { dueAt, attempts: incident.attempts + (counts ? 1 : 0) });
}

type Write = { set: Partial<IncidentDoc>; entries: Entry[]; beside?: Partial<Beside>; unset?: Record<string, ''> };

async function write(
  deps: RecordDeps,
  incident: IncidentDoc,
  { set, entries, beside = {}, unset }: Write,
  signal: AbortSignal,
): Promise<IncidentDoc> {
  const { _id, tenantId, version } = incident;
  const fields = { ...set, version: version + 1 };
  const operation = {
    in: 'incidents' as const,
    update: { _id, tenantId, version },
    set: { $set: fields, ...(unset && { $unset: unset }) },
  };
  const change = {
    operations: [operation, ...(beside.operations ?? [])],
    entries: [...(beside.entries ?? []), ...entries],
  };
  const outcome = await persist(deps, change, signal);
  if (outcome !== 'committed')
    throw new AppError('interrupted', { internal: 'the incident or its credential changed' });
  return { ...incident, ...fields };
}

function entryOf(
  deps: RecordDeps,
  { _id, tenantId, credentialId, service, subject }: IncidentDoc,
  type: string,
  detail: Entry['detail'],
  reason: string | null = null,
): Entry {
  const actor = { kind: 'worker' as const, id: deps.workerId };
  return makeEntry(deps, { tenantId, type, actor, credentialId, service, subject, incidentId: _id, reason, detail });
}
