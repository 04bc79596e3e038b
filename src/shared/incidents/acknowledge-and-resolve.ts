/** What a person does with an incident. State, entry and credential commit together (promise 6). */

import { transit } from '../credentials/lifecycle.ts';
import { stateUpdate } from '../credentials/state-requests.ts';
import { AppError, toAppError } from '../platform/errors.ts';
import { PRIORITY } from '../queue/jobs.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Change } from '../store/commit.ts';
import type { IncidentDoc, Resolution } from '../store/compromise/incidents.ts';
import { makeEntry } from '../store/entry.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';

type ChangeDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit' | 'hints' | 'log'>;

export type IncidentCall = { tenantId: string; id: string; actor: Entry['actor'] };

const ATTEMPTS = 3;

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
  if (doc.status === 'open') await hurry(deps, doc._id);
  return doc;
}

async function hurry(deps: ChangeDeps, id: string): Promise<void> {
  await deps.hints
    .add('respond', [{ payload: { ids: [id], reason: 'approved' }, priority: PRIORITY.urgent }])
    .catch((error) =>
      deps.log.warn({ code: toAppError(error).code }, 'a hint was not taken; the sweep finds the work'),
    );
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
    const { operations, entries } = restored ? restoration(deps, call, restored) : unblocking(held);
    return { operations: [...own.operations, ...operations], entries: [...own.entries, ...entries] };
  });
}

/** The credential that this case holds in quarantine. */
async function heldBy(deps: ChangeDeps, { _id, tenantId, credentialId }: IncidentDoc): Promise<CredentialDoc | null> {
  if (credentialId === null) return null;
  const doc = await deps.database.collection('credentials').findOne({ _id: credentialId, tenantId });
  return doc?.state === 'quarantined' && doc.blocked?.reason === `incident ${_id}` ? doc : null;
}

/** Whether nobody has tried to revoke its secret. */
function isUntouched({ steps }: IncidentDoc, doc: CredentialDoc): boolean {
  return !steps.some(({ name }) => name === 'revoked_at_provider') && doc.lease?.purpose !== 'respond';
}

/** It stays in quarantine; from now on a person may restore it. */
function unblocking({ _id, tenantId, blocked }: CredentialDoc): Change {
  const update = { _id, tenantId, 'blocked.reason': blocked!.reason };
  return { operations: [{ in: 'credentials', update, set: { $set: { blocked: null } } }], entries: [] };
}

function restoration(deps: ChangeDeps, { actor }: IncidentCall, doc: CredentialDoc): Change {
  const { state, entry } = transit('restore', doc.state);
  const { _id, tenantId, service, subject } = doc;
  return {
    operations: [
      {
        in: 'credentials',
        // With the fence: a revocation that has begun meanwhile holds a newer one.
        update: { _id, tenantId, state: doc.state, fence: doc.fence },
        set: stateUpdate(deps, doc, state),
      },
    ],
    entries: [
      makeEntry(deps, { tenantId, credentialId: _id, service, subject, type: entry, actor, reason: 'false_alarm' }),
    ],
  };
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
  const incidents = deps.database.collection('incidents');
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const doc = await incidents.findOne({ _id: id, tenantId });
    if (!doc) throw new AppError('not_found');
    if ((await deps.commit(await build(doc))) === 'committed')
      return (await incidents.findOne({ _id: id, tenantId })) ?? doc;
  }
  throw new AppError('conflict', { detail: 'The incident keeps changing; try again.' });
}
