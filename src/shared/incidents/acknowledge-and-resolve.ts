/** A person acknowledges or resolves an incident. State, entry and credential commit together (promise 6). */

import { credentialChange } from '../credentials/change.ts';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Change } from '../store/commit.ts';
import { findIncident, type IncidentDoc, type Resolution } from '../store/compromise/incidents.ts';
import { makeEntry } from '../store/entry.ts';
import { type CredentialDoc, findCredential } from '../store/lifecycle/credentials.ts';
import { isHeldFor } from './credential-hold.ts';
import { hintPlaybook } from './playbook-hint.ts';

type ChangeDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit' | 'hints' | 'log'>;

export type IncidentCall = { tenantId: string; id: string; actor: Entry['actor'] };

const MAX_ATTEMPTS = 3;

/** A person has seen it. With `proceed` the playbook goes on where it waited for one. Throws `not_found`, `transition_refused`. */
export async function acknowledge(deps: ChangeDeps, call: IncidentCall, proceed: boolean): Promise<IncidentDoc> {
  const doc = await change(deps, call, async (incident) => {
    if (incident.status === 'resolved') throw new AppError('transition_refused', { detail: 'It is resolved.' });
    const goesOn = proceed && incident.status === 'waiting';
    if (goesOn && incident.credentialId === null) {
      throw new AppError('transition_refused', { detail: 'It names no credential: there is nothing to contain.' });
    }
    const at = new Date(deps.clock.now());
    const resumed = {
      status: 'open' as const,
      waitingFor: null,
      approved: [...incident.approved, ...(incident.waitingFor ? [incident.waitingFor] : [])],
      confidence: 'confirmed' as const,
      dueAt: at,
    };
    const set = { acknowledged: incident.acknowledged ?? { by: call.actor.id, at }, ...(goesOn && resumed) };
    return changeOf(deps, call, incident, { type: 'incident.acknowledged', set, detail: { proceed: goesOn } });
  });
  if (doc.status === 'open') await hintPlaybook(deps, doc._id, 'approved');
  return doc;
}

/**
 * Ends the case. A false alarm restores the credential that was stopped for it, unless its secret is dead at the provider
 * already: then a new consent is the way. Throws `not_found`, `transition_refused`, `conflict`.
 */
export function resolve(
  deps: ChangeDeps,
  call: IncidentCall,
  { resolution, note }: { resolution: Resolution; note: string | null },
): Promise<IncidentDoc> {
  return change(deps, call, async (incident) => {
    if (incident.status === 'resolved') throw new AppError('transition_refused', { detail: 'It is resolved.' });
    const at = new Date(deps.clock.now());
    const held = await heldBy(deps, incident);
    const restored = resolution === 'false_alarm' && held && isUntouched(incident, held) ? held : null;
    const set = {
      status: 'resolved' as const,
      waitingFor: null,
      resolved: { by: call.actor.id, at, resolution, note },
    };
    const detail = { resolution, note, restored: restored !== null };
    const own = changeOf(deps, call, incident, {
      type: 'incident.resolved',
      set,
      detail,
      unset: { key: '', dueAt: '' },
    });
    if (!held) return own;
    const { operations, entries } = restored ? restoration(deps, call, restored) : unblocking(deps, call, held);
    return { operations: [...own.operations, ...operations], entries: [...own.entries, ...entries] };
  });
}

/** The credential that this case holds in quarantine. */
async function heldBy(deps: ChangeDeps, incident: IncidentDoc): Promise<CredentialDoc | null> {
  const { tenantId, credentialId } = incident;
  if (credentialId === null) return null;
  const doc = await findCredential(deps.database, { tenantId, id: credentialId });
  return doc && isHeldFor(incident, doc) ? doc : null;
}

/** Whether nobody has tried to revoke its secret. */
function isUntouched({ steps }: IncidentDoc, doc: CredentialDoc): boolean {
  return !steps.some(({ name }) => name === 'revoked_at_provider') && doc.lease?.purpose !== 'respond';
}

/** It stays in quarantine; from now on a person may restore it. */
function unblocking(deps: ChangeDeps, { actor }: IncidentCall, doc: CredentialDoc): Change {
  return credentialChange(deps, doc, { transition: 'unblock', expect: { blocked: doc.blocked }, actor });
}

function restoration(deps: ChangeDeps, { actor }: IncidentCall, doc: CredentialDoc): Change {
  return credentialChange(deps, doc, {
    transition: 'restore',
    // With the fence: a revocation that has begun meanwhile holds a newer one.
    expect: { fence: doc.fence },
    actor,
    reason: 'false_alarm',
  });
}

type Told = { type: string; set: Partial<IncidentDoc>; detail: Entry['detail']; unset?: Record<string, ''> };

function changeOf(
  deps: ChangeDeps,
  { actor }: IncidentCall,
  doc: IncidentDoc,
  { type, set, detail, unset }: Told,
): Change {
  const { _id, tenantId, credentialId, service, subject, version } = doc;
  return {
    operations: [
      {
        in: 'incidents',
        update: { _id, tenantId, version },
        set: { $set: { ...set, version: version + 1 }, ...(unset && { $unset: unset }) },
      },
    ],
    entries: [makeEntry(deps, { tenantId, credentialId, service, subject, incidentId: _id, type, actor, detail })],
  };
}

async function change(
  deps: ChangeDeps,
  { tenantId, id }: IncidentCall,
  build: (incident: IncidentDoc) => Promise<Change>,
): Promise<IncidentDoc> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const doc = await findIncident(deps.database, { tenantId, id });
    if (!doc) throw new AppError('not_found');
    const outcome = await deps.commit(await build(doc));
    if (outcome === 'committed') return (await findIncident(deps.database, { tenantId, id })) ?? doc;
  }
  throw new AppError('conflict', { detail: 'The incident keeps changing; try again.' });
}
