/** The phases of a rotation of keys. Each step may be made again, so a rotation goes on where its record ends. */

import { AppError } from '../../platform/errors.ts';
import { assertHeldByAll, writersElsewhere } from '../../runtime/processes.ts';
import type { UsableDataKey } from '../../sealing/data-keys.ts';
import type { CollectionName } from '../../store/database.ts';
import type { KeyRotationDoc, RotationPhase } from '../../store/keys/key-rotations.ts';
import { FREE } from '../../store/lease.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { SealedCollection } from '../../store/sealed-values.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { changePhase, saveProgress } from './record.ts';
import { collectionsOf, countRemaining, remaining } from './requests.ts';
import { refingerprint, rewrap } from './reseal-keys.ts';
import { type GroupResult, moveValues } from './reseal-values.ts';
import { activateVersion, noticeMs, retireVersions, stageVersion } from './versions.ts';

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
/** Pause before a round that looks for what was leased in the one before. Milliseconds. */
const ROUND_PAUSE_MS = 1_000;
const MAX_PAUSES = 60;
/** How often is looked whether what keeps a rotation from going on has changed. Milliseconds. */
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
  const total = await countRemaining(deps, rotation);
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
  const { place } = rotation.cursor;
  const name = collectionsOf(rotation.kind)[place];
  if (name === undefined) return endRound(deps, rotation);
  const begin = deps.clock.now();
  const docs = await readGroup(deps, rotation, name);
  if (docs.length === 0) return { rotation: await progress(deps, rotation, { place: place + 1, after: null }) };
  const { moved, problem } = await moveGroup(deps, rotation, name, docs);
  const cursor = { place, after: docs.at(-1)!._id };
  const next = await progress(deps, rotation, cursor, {
    moved: rotation.moved + moved,
    ...(problem && { problem: { code: problem.code, detail: problem.message } }),
  });
  const paceMs = (docs.length / deps.config.resealPerSecond) * 1_000 - (deps.clock.now() - begin);
  if (paceMs > 0) await deps.clock.sleep(paceMs, signal);
  return { rotation: next };
}

async function readGroup(deps: WorkerDeps, rotation: KeyRotationDoc, name: CollectionName) {
  const { after } = rotation.cursor;
  const beyond = after === null ? {} : { _id: { $gt: after } };
  return await deps.database.db
    .collection<{ _id: string }>(name)
    .find({ $and: [remaining(rotation, name), beyond, FREE] })
    .sort({ _id: 1 })
    .limit(GROUP_SIZE)
    .toArray();
}

function moveGroup(
  deps: WorkerDeps,
  rotation: KeyRotationDoc,
  name: CollectionName,
  docs: { _id: string }[],
): Promise<GroupResult> {
  if (rotation.kind === 'root') return rewrap(deps, rotation, docs as UsableDataKey[]);
  if (rotation.kind === 'fingerprint') return refingerprint(deps, rotation, docs as CredentialDoc[]);
  return moveValues(deps, rotation, name as SealedCollection, docs as never);
}

/** Due again by itself when this process dies: soon after its lease has ended. */
function progress(
  deps: WorkerDeps,
  rotation: KeyRotationDoc,
  cursor: KeyRotationDoc['cursor'],
  set: Partial<KeyRotationDoc> = {},
): Promise<KeyRotationDoc> {
  const dueAt = new Date(deps.clock.now() + deps.config.leaseMs + 1_000);
  return saveProgress(deps, rotation, { cursor, dueAt, ...set });
}

async function endRound(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<StepResult> {
  const left = await countRemaining(deps, rotation);
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
  const next = await progress(deps, rotation, cursor, { left, round, problem });
  // What never comes free, or never opens, is looked at ever more rarely.
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

/** Counted once more after a pause: what was under way when the first count was made would show now. */
async function settle(deps: WorkerDeps, rotation: KeyRotationDoc): Promise<StepResult> {
  const waitMs = rotation.notBefore.getTime() - deps.clock.now();
  if (waitMs > 0) return { rotation, waitMs };
  const left = await countRemaining(deps, rotation);
  if (left > 0) {
    const again = { phase: 'moving' as const, left, round: rotation.round + 1, cursor: { place: 0, after: null } };
    return { rotation: await saveProgress(deps, rotation, again) };
  }
  if (rotation.version !== null) return { rotation: await retireVersions(deps, rotation) };
  const set = { phase: 'finished' as const, left, problem: null, finishedAt: new Date(deps.clock.now()) };
  const entry = { type: 'key.rotation_finished', detail: { left, moved: rotation.moved } };
  return { rotation: await changePhase(deps, rotation, { set, entry }) };
}
