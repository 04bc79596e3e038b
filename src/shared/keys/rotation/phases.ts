/** The phases of a rotation of keys, each as one step after another. A step may be made again: it begins where the record ends. */

import { AppError } from '../../platform/errors.ts';
import { assertHeldByAll, writersElsewhere } from '../../runtime/processes.ts';
import type { UsableDataKey } from '../../sealing/data-keys.ts';
import type { CollectionName } from '../../store/database.ts';
import type { KeyRotationDoc, RotationPhase } from '../../store/keys/key-rotations.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import { backlogCollections, countBacklog, listBacklog } from '../../store/reseal-backlog.ts';
import type { SealedCollection } from '../../store/sealed-values.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { activateVersion, noticeMs, retireVersions, stageVersion } from './data-key-versions.ts';
import { changePhase, saveProgress } from './record.ts';
import { refingerprint } from './refingerprint.ts';
import { type GroupResult, resealValues } from './reseal-values.ts';
import { rewrapKeys } from './rewrap-keys.ts';

/** `waitMs`: nothing is to be done before; absent: it goes on at once. */
export type StepResult = { rotation: KeyRotationDoc; waitMs?: number };
type Step = (deps: WorkerDeps, rotation: KeyRotationDoc, signal: AbortSignal) => Promise<StepResult>;

export const PHASES: Record<Exclude<RotationPhase, 'finished'>, Step> = {
  requested: begin,
  staged: activate,
  moving: move,
  settling: settle,
};

/** Documents in one group: read, moved and written together. */
const GROUP_SIZE = 200;
/** Pause before another round, which finds what workers held in the one before; it grows by this with each. Milliseconds. */
const ROUND_PAUSE_MS = 1_000;
/** It grows this many times. */
const MAX_PAUSES = 60;
/** While something keeps a rotation from going on, it is looked at this often. Milliseconds. */
const LOOK_AGAIN_MS = 5_000;

async function begin(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<StepResult> {
  if (rotation.kind === 'data' || rotation.kind === 'fingerprint') {
    return { rotation: await stageVersion(deps, rotation) };
  }
  if (rotation.kind === 'store') await (await deps.secrets.named(rotation.target!)).health();
  else await assertUsableRoot(deps, rotation);
  return { rotation: await startMoving(deps, rotation) };
}

/** A staged root key is inert until every process has it. Throws `config_invalid` with what to do. */
async function assertUsableRoot(deps: WorkerDeps, { target }: KeyRotationDoc): Promise<void> {
  await assertHeldByAll(deps, target!);
  if ((await deps.keyProvider.currentKeyId()) === target) return;
  throw new AppError('config_invalid', {
    detail: `The workers do not wrap with the root key ${target}; make it the first of KEYTURN_ROOT_KEYS there too.`,
  });
}

async function startMoving(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<KeyRotationDoc> {
  const total = await countBacklog(deps.database, rotation);
  return changePhase(deps, rotation, {
    set: { phase: 'moving', total, problem: null, notBefore: new Date(deps.clock.now() + noticeMs(deps)) },
    entry: { type: 'key.moving_started', detail: { total } },
  });
}

async function activate(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<StepResult> {
  const waitMs = rotation.notBefore.getTime() - deps.clock.now();
  if (waitMs > 0) return { rotation, waitMs };
  return { rotation: await activateVersion(deps, rotation) };
}

/** One group, or the end of a round. */
async function move(deps: WorkerDeps, rotation: KeyRotationDoc, signal: AbortSignal): Promise<StepResult> {
  const { place, after } = rotation.cursor;
  const name = backlogCollections(rotation.kind)[place];
  if (name === undefined) return endRound(deps, rotation);
  const begin = deps.clock.now();
  const docs = await listBacklog(deps.database, rotation, { name, after, limit: GROUP_SIZE });
  if (docs.length === 0) return { rotation: await savePlace(deps, rotation, { place: place + 1, after: null }) };
  const { moved, problem } = await moveGroup(deps, rotation, name, docs);
  const cursor = { place, after: docs.at(-1)!._id };
  const next = await savePlace(deps, rotation, cursor, {
    moved: rotation.moved + moved,
    ...(problem && { problem: { code: problem.code, detail: problem.message } }),
  });
  const paceMs = (docs.length / deps.config.resealPerSecond) * 1_000 - (deps.clock.now() - begin);
  if (paceMs > 0) await deps.clock.sleep(paceMs, signal);
  return { rotation: next };
}

function moveGroup(
  deps: WorkerDeps,
  rotation: KeyRotationDoc,
  name: CollectionName,
  docs: { _id: string }[],
): Promise<GroupResult> {
  if (rotation.kind === 'root') return rewrapKeys(deps, rotation, docs as UsableDataKey[]);
  if (rotation.kind === 'fingerprint') return refingerprint(deps, rotation, docs as CredentialDoc[]);
  return resealValues(deps, rotation, name as SealedCollection, docs as never);
}

/** Saves the place. When this process dies, the rotation is due soon after its lease has ended. */
function savePlace(
  deps: WorkerDeps,
  rotation: KeyRotationDoc,
  cursor: KeyRotationDoc['cursor'],
  set: Partial<KeyRotationDoc> = {},
): Promise<KeyRotationDoc> {
  const dueAt = new Date(deps.clock.now() + deps.config.leaseMs + 1_000);
  return saveProgress(deps, rotation, { cursor, dueAt, ...set });
}

async function endRound(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<StepResult> {
  const left = await countBacklog(deps.database, rotation);
  const now = deps.clock.now();
  const obstacle = left === 0 ? await obstacleTo(deps, rotation) : null;
  const early = rotation.notBefore.getTime() - now;
  if (left === 0 && !obstacle && early <= 0) {
    const notBefore = new Date(now + noticeMs(deps));
    const settling = await saveProgress(deps, rotation, { phase: 'settling', left, problem: null, notBefore });
    return { rotation: settling };
  }
  const cursor = { place: 0, after: null };
  const round = rotation.round + (left > 0 ? 1 : 0);
  const problem = obstacle ?? (left > 0 ? rotation.problem : null);
  const next = await savePlace(deps, rotation, cursor, { left, round, problem });
  // A value that never comes free, or never opens, is looked at ever more rarely.
  const pauseMs = ROUND_PAUSE_MS * Math.min(round, MAX_PAUSES);
  return { rotation: next, waitMs: obstacle ? LOOK_AGAIN_MS : left > 0 ? pauseMs : early };
}

/** Why new values may still come to lie where the old ones were. */
async function obstacleTo(deps: WorkerDeps, { kind, target }: KeyRotationDoc): Promise<KeyRotationDoc['problem']> {
  const writers = kind === 'store' ? await writersElsewhere(deps, target!) : [];
  if (writers.length === 0) return null;
  const detail = `Set KEYTURN_SECRET_STORE=${target} for: ${writers.join(', ')}; they put new secrets elsewhere.`;
  return { code: 'config_invalid', detail };
}

/** Counts once more after a pause: a write that was under way at the first count would show now. */
async function settle(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<StepResult> {
  const waitMs = rotation.notBefore.getTime() - deps.clock.now();
  if (waitMs > 0) return { rotation, waitMs };
  const left = await countBacklog(deps.database, rotation);
  if (left > 0) {
    const again = { phase: 'moving' as const, left, round: rotation.round + 1, cursor: { place: 0, after: null } };
    return { rotation: await saveProgress(deps, rotation, again) };
  }
  if (rotation.version !== null) return { rotation: await retireVersions(deps, rotation) };
  const set = { phase: 'finished' as const, left, problem: null, finishedAt: new Date(deps.clock.now()) };
  const entry = { type: 'key.rotation_finished', detail: { left, moved: rotation.moved } };
  return { rotation: await changePhase(deps, rotation, { set, entry }) };
}
