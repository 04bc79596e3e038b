/**
 * The playbook for a confirmed compromise, in this order: release is blocked, the secret ends at the provider, that is
 * confirmed, a new one is asked for (promise 8). Every step is idempotent and recorded with its time, so the playbook
 * goes on from there after a crash. Where it cannot go on by itself it stops, says why, and waits for a person.
 */
import { quarantineChange } from '../../credentials/quarantine.ts';
import { revokeAtProvider, verdictOf } from '../../credentials/revocation/at-provider.ts';
import { findRotator, type Rotators } from '../../credentials/rotation/rotators/catalogue.ts';
import { AppError } from '../../platform/errors.ts';
import {
  findIncidentById,
  type IncidentDoc,
  type StepName,
  type WaitReason,
} from '../../store/compromise/incidents.ts';
import { type CredentialDoc, findCredential } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { hold } from '../../work/leases.ts';
import { blockOf, isHeldFor } from '../credential-hold.ts';
import { type Done, recordContained, recordStep, recordWait } from './record.ts';
import { takesBudget } from './revocation-budget.ts';
import { endOf } from './revoked-ending.ts';
import { rotateAway } from './rotate-ending.ts';

export type PlaybookDeps = WorkerDeps & { rotators: Rotators };

/** Undefined when the incident is contained or waits for a person. Throws what has it tried again. */
export async function runPlaybook(deps: PlaybookDeps, id: string, signal: AbortSignal): Promise<void> {
  let incident = await findIncidentById(deps.database, id);
  if (incident?.status !== 'open' || incident.credentialId === null) return;
  if (!isDone(incident, 'release_blocked')) incident = await blockRelease(deps, incident, signal);
  if (incident.status !== 'open') return;
  if (!isApproved(incident, 'revocation_cap') && !(await takesBudget(deps, incident))) {
    await recordWait(deps, incident, 'revocation_cap', signal);
    return;
  }
  const doc = await credentialOf(deps, incident);
  const rotates = doc !== null && isHeldFor(incident, doc) && findRotator(deps.rotators, doc) !== undefined;
  if (rotates && !isApproved(incident, 'provider_cannot_revoke')) return rotateAway(deps, incident, signal);
  return underLease(deps, incident, signal);
}

function isDone({ steps }: IncidentDoc, name: StepName): boolean {
  return steps.some((step) => step.name === name);
}

function isApproved({ approved }: IncidentDoc, reason: WaitReason): boolean {
  return approved.includes(reason);
}

async function credentialOf(
  deps: PlaybookDeps,
  { tenantId, credentialId }: IncidentDoc,
): Promise<CredentialDoc | null> {
  return findCredential(deps.database, { tenantId, id: credentialId as string });
}

/** Needs no lease: the state stops the release in every process, whatever a worker does with the credential meanwhile. */
async function blockRelease(deps: PlaybookDeps, incident: IncidentDoc, signal: AbortSignal): Promise<IncidentDoc> {
  const doc = await credentialOf(deps, incident);
  const actor = { kind: 'worker' as const, id: deps.workerId };
  const why = { reason: blockOf(incident), actor, incidentId: incident._id };
  const beside = doc ? quarantineChange(deps, doc, why) : null;
  const outcome = beside ? 'blocked' : 'not_released_anyway';
  return recordStep(deps, incident, { name: 'release_blocked', outcome, ...(beside && { beside }) }, signal);
}

const MAX_TRIES = 40;
const PAUSE_MS = 25;

/** The steps at the provider. A refresh that is under way ends first: then it is its token that is revoked, not the one before. */
async function underLease(deps: PlaybookDeps, incident: IncidentDoc, signal: AbortSignal): Promise<void> {
  const request = {
    ids: [incident.credentialId as string],
    purpose: 'respond',
    where: { tenantId: incident.tenantId },
    signal,
  };
  for (let attempt = 0; attempt < MAX_TRIES && !signal.aborted; attempt += 1) {
    const held = await hold(deps, 'credentials', request);
    try {
      const doc = held.docs[0];
      if (doc) return await contain(deps, { incident, doc, isFresh: () => held.isFresh(), signal });
    } finally {
      await held.end();
    }
    await deps.clock.sleep(PAUSE_MS, signal);
  }
  throw new AppError('interrupted', { retryAfterMs: 500, internal: 'the credential is held by another worker' });
}

type Work = { incident: IncidentDoc; doc: CredentialDoc; isFresh(): boolean; signal: AbortSignal };

async function contain(deps: PlaybookDeps, work: Work): Promise<void> {
  const { doc, signal, isFresh } = work;
  let { incident } = work;
  if (doc.state === 'revoked' || doc.state === 'destroyed') return closeRevoked(deps, work);
  if (!isHeldFor(incident, doc)) {
    // A new consent, or a person, was faster: what is there now is not what leaked.
    if (!isApproved(incident, 'replaced_meanwhile'))
      return void (await recordWait(deps, incident, 'replaced_meanwhile', signal));
    incident = await blockAgain(deps, incident, doc, signal);
    return contain(deps, {
      ...work,
      incident,
      doc: { ...doc, state: 'quarantined', blocked: blockedFor(deps, incident) },
    });
  }
  if (!isFresh()) throw new AppError('interrupted', { internal: 'the lease is too old to act under' });
  if (!isDone(incident, 'revoked_at_provider')) {
    const revoked = await revoke(deps, { ...work, incident });
    if (!revoked) return;
    incident = revoked;
  }
  if (!isDone(incident, 'revocation_confirmed')) {
    const confirmed = await confirm(deps, { ...work, incident });
    if (!confirmed) return;
    incident = confirmed;
  }
  await replace(deps, { ...work, incident });
}

function blockedFor(deps: PlaybookDeps, incident: IncidentDoc) {
  return { reason: blockOf(incident), at: new Date(deps.clock.now()) };
}

async function blockAgain(
  deps: PlaybookDeps,
  incident: IncidentDoc,
  doc: CredentialDoc,
  signal: AbortSignal,
): Promise<IncidentDoc> {
  const actor = { kind: 'worker' as const, id: deps.workerId };
  const change = quarantineChange(deps, doc, { reason: blockOf(incident), actor, incidentId: incident._id });
  if (!change) throw new AppError('interrupted', { retryAfterMs: 500 });
  return recordStep(deps, incident, { name: 'release_blocked', outcome: 'blocked_again', beside: change }, signal);
}

/** Null: it waits for a person. */
async function revoke(deps: PlaybookDeps, { incident, doc, signal }: Work): Promise<IncidentDoc | null> {
  const told = await revokeAtProvider(deps, doc, signal).catch((error) => {
    // The provider said no: asking again changes nothing.
    if (error instanceof AppError && (error.retry === 'never' || error.retry === 'park')) return 'refused' as const;
    throw error;
  });
  const isOurs = told === 'revoked' || told === 'nothing_to_revoke';
  if (!isOurs && !isApproved(incident, 'provider_cannot_revoke')) {
    await recordWait(deps, incident, 'provider_cannot_revoke', signal);
    return null;
  }
  return recordStep(deps, incident, { name: 'revoked_at_provider', outcome: isOurs ? told : 'by_a_person' }, signal);
}

const MAX_LOOKS = 5;

/** The provider's own word, where it has one. Null: it still takes the token, and a person must see to it. */
async function confirm(deps: PlaybookDeps, { incident, doc, signal }: Work): Promise<IncidentDoc | null> {
  const verdict = await verdictOf(deps, doc, signal);
  if (verdict === 'active' && !isApproved(incident, 'still_active')) {
    if (incident.attempts < MAX_LOOKS) throw new AppError('provider_unavailable', { retryAfterMs: 1_000 });
    await recordWait(deps, incident, 'still_active', signal);
    return null;
  }
  return recordStep(deps, incident, { name: 'revocation_confirmed', outcome: verdict }, signal);
}

async function replace(deps: PlaybookDeps, { incident, doc, signal }: Work): Promise<void> {
  const { outcome, beside, fingerprints } = await endOf(deps, incident, doc);
  const done: Done = { name: 'replacement_requested', outcome, beside };
  await recordContained(deps, incident, done, { set: { fingerprints }, signal });
}

async function closeRevoked(deps: PlaybookDeps, { incident, doc, signal }: Work): Promise<void> {
  const done: Done = { name: 'replacement_requested', outcome: `already_${doc.state}` };
  await recordContained(deps, incident, done, { set: { fingerprints: doc.fingerprints }, signal });
}
