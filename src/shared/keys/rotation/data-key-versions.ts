/** The versions of a data key: staged, then used, then retired. Each is one change with its entry. */

import { AppError } from '../../platform/errors.ts';
import type { DataKeyDoc } from '../../sealing/contract.ts';
import { DATA_KEY_BYTES, dataKeyId } from '../../sealing/data-keys.ts';
import type { DataKeyPurpose } from '../../sealing/key-providers/contract.ts';
import type { Operation } from '../../store/commit.ts';
import { hasIncidentFingerprint } from '../../store/compromise/incidents.ts';
import { makeDataKeyStore } from '../../store/keys/data-keys.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import { hasCredentialFingerprint } from '../../store/lifecycle/credentials-keys.ts';
import { countBacklog } from '../../store/reseal-backlog.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { changePhase } from './record.ts';
import { PURPOSE_OF } from './requests.ts';

const USABLE = ['active', 'decrypt_only'];

/** Twice the time in which every process notices a new version. Milliseconds. */
export function noticeMs(deps: Pick<WorkerDeps, 'config'>): number {
  return 2 * deps.config.keyRefreshMs;
}

/** The next version, which opens and does not seal yet. Without any version there is nothing to rotate. */
export async function stageVersion(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<KeyRotationDoc> {
  const { tenantId } = rotation;
  const purpose = purposeOf(rotation);
  const docs = await makeDataKeyStore(deps.database).versions(tenantId, purpose);
  const now = deps.clock.now();
  if (!docs.some(({ state }) => state === 'active')) {
    const set = { phase: 'finished' as const, left: 0, finishedAt: new Date(now) };
    return changePhase(deps, rotation, { set, entry: { type: 'key.rotation_finished', detail: { left: 0 } } });
  }
  const version = docs[0]!.version + 1;
  const doc = await wrapNew(deps, { tenantId, purpose, version });
  const revived = await stillNeeded(deps, rotation, docs);
  const set = { phase: 'staged' as const, version, notBefore: new Date(now + noticeMs(deps)) };
  return changePhase(deps, rotation, {
    set,
    operations: [
      { in: 'data_keys', insert: doc },
      ...revived.map((one) => stateChange(one, 'retired', 'decrypt_only')),
    ],
    entry: { type: 'key.version_staged' },
  });
}

/** Retired keys with values under them all the same: a write hung while the key was retired. */
async function stillNeeded(deps: WorkerDeps, rotation: KeyRotationDoc, docs: DataKeyDoc[]): Promise<DataKeyDoc[]> {
  if (rotation.kind !== 'data') return [];
  const retired = docs.filter(({ state }) => state === 'retired');
  const counts = await Promise.all(
    retired.map(({ version }) => countBacklog(deps.database, { ...rotation, version: version + 1 })),
  );
  return retired.filter((_, index) => counts[index]! > 0);
}

async function wrapNew(
  deps: WorkerDeps,
  context: { tenantId: string; purpose: DataKeyPurpose; version: number },
): Promise<DataKeyDoc> {
  const plain = deps.random.bytes(DATA_KEY_BYTES);
  try {
    const wrapped = await deps.keyProvider.wrap(plain, context);
    const _id = dataKeyId(context.tenantId, context.purpose, context.version);
    return { _id, ...context, wrapped, state: 'decrypt_only', createdAt: new Date(deps.clock.now()) };
  } finally {
    plain.fill(0);
  }
}

/** From here on every process seals with the new version, once it has noticed. */
export async function activateVersion(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<KeyRotationDoc> {
  const { tenantId, version } = rotation;
  const older = await olderVersions(deps, rotation);
  const total = await countBacklog(deps.database, rotation);
  return changePhase(deps, rotation, {
    set: {
      phase: 'moving',
      total,
      cursor: { place: 0, after: null },
      notBefore: new Date(deps.clock.now() + noticeMs(deps)),
    },
    operations: [
      stateChange({ _id: dataKeyId(tenantId, purposeOf(rotation), version!), tenantId }, 'decrypt_only', 'active'),
      ...older.filter(({ state }) => state === 'active').map((doc) => stateChange(doc, 'active', 'decrypt_only')),
    ],
    entry: { type: 'key.version_activated', detail: { total } },
  });
}

/** Ends the old versions, which nothing is left under. One that fingerprints of the past need stays readable. */
export async function retireVersions(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<KeyRotationDoc> {
  const idle = [];
  for (const doc of await olderVersions(deps, rotation)) if (!(await isReferred(deps, rotation, doc))) idle.push(doc);
  const retired = idle.map(({ version }) => version).join(', ');
  return changePhase(deps, rotation, {
    set: { phase: 'finished', left: 0, problem: null, finishedAt: new Date(deps.clock.now()) },
    operations: idle.map((doc) => stateChange(doc, doc.state, 'retired')),
    entry: { type: 'key.rotation_finished', detail: { left: 0, moved: rotation.moved, retired } },
  });
}

/** Tokens of earlier generations are gone: their fingerprints cannot be made anew, and are found under their own version. */
async function isReferred(deps: WorkerDeps, { kind, tenantId }: KeyRotationDoc, doc: DataKeyDoc): Promise<boolean> {
  if (kind !== 'fingerprint') return false;
  const under = { tenantId, version: doc.version };
  return (await hasCredentialFingerprint(deps.database, under)) || (await hasIncidentFingerprint(deps.database, under));
}

async function olderVersions(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<DataKeyDoc[]> {
  const { tenantId, version } = rotation;
  const keys = await makeDataKeyStore(deps.database).versions(tenantId, purposeOf(rotation));
  return keys.filter((doc) => doc.version < version! && USABLE.includes(doc.state));
}

function stateChange(
  { _id, tenantId }: Pick<DataKeyDoc, '_id' | 'tenantId'>,
  from: DataKeyDoc['state'],
  to: DataKeyDoc['state'],
): Operation {
  return { in: 'data_keys', update: { _id, tenantId, state: from }, set: { $set: { state: to } } };
}

function purposeOf({ kind }: KeyRotationDoc): DataKeyPurpose {
  if (kind === 'data' || kind === 'fingerprint') return PURPOSE_OF[kind];
  throw new AppError('internal', { internal: `a rotation of ${kind} has no data key` });
}
