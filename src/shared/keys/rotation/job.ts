/**
 * Rotates keys and moves sealed values, in slices: what a process leaves, or dies over, another takes up at the recorded
 * place. Releases and refreshes go on meanwhile.
 *
 * The way through this folder: `requests.ts` begins a rotation; this job carries it through `phases.ts`. A data or fingerprint
 * key gets a new version, which is staged, used and retired (`data-key-versions.ts`). In the phase `moving` groups of documents
 * (`store/reseal-backlog.ts`) go from the old key to the new: `reseal-values.ts`, `refingerprint.ts`, or `rewrap-keys.ts` for
 * the root key. `record.ts` writes each phase and the progress. `retired-key-values.ts` takes in values that come too late.
 */
import { toAppError } from '../../platform/errors.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { hold } from '../../work/leases.ts';
import { PHASES } from './phases.ts';
import { saveProgress } from './record.ts';

/** A slice of work; other rotations have their turn in between. Milliseconds. */
const SLICE_MS = 5_000;
const AFTER_ERROR_MS = 5_000;

export const createResealJob = defineJob('reseal', (deps) => ({
  async process({ ids }, signal) {
    const held = await hold(deps, 'key_rotations', { ids, purpose: 'reseal', where: { open: true }, signal });
    const more: string[] = [];
    try {
      await Promise.all(
        held.docs.map(async (doc) => {
          if (await carryOn(deps, doc, signal)) more.push(doc._id);
        }),
      );
    } finally {
      await held.end();
    }
    if (more.length === 0 || signal.aborted) return;
    // Without Redis the sweep finds them.
    await deps.hints.add('reseal', [{ payload: { ids: more, reason: 'more' } }]).catch(toAppError);
  },
}));

/** Whether it goes on at once. Never throws: what goes wrong is on the record, and is tried again. */
async function carryOn(deps: WorkerDeps, first: KeyRotationDoc, signal: AbortSignal): Promise<boolean> {
  let rotation = first;
  const endAt = deps.clock.now() + SLICE_MS;
  let waitMs = 0;
  try {
    while (!signal.aborted && rotation.phase !== 'finished' && waitMs === 0 && deps.clock.now() < endAt) {
      const result = await PHASES[rotation.phase](deps, rotation, signal);
      rotation = result.rotation;
      waitMs = result.waitMs ?? 0;
    }
    if (rotation.phase === 'finished') return false;
    await saveProgress(deps, rotation, { dueAt: new Date(deps.clock.now() + waitMs) });
    return waitMs === 0;
  } catch (thrown) {
    const error = toAppError(thrown);
    deps.log.warn({ err: error, rotationId: rotation._id }, 'a rotation of keys waits');
    const dueAt = new Date(deps.clock.now() + (error.retryAfterMs ?? AFTER_ERROR_MS));
    const problem = { code: error.code, detail: error.message };
    await saveProgress(deps, rotation, { dueAt, problem }).catch(toAppError);
    return false;
  }
}
