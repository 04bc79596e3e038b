/** Wraps data keys anew under the new root key: what a rotation of the root key moves. */

import { inParallel } from '../../platform/concurrency/in-parallel.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import { type UsableDataKey, wrapContextOf } from '../../sealing/data-keys.ts';
import { replaceWrapped } from '../../store/keys/data-keys.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { GroupResult } from './reseal-values.ts';

type RewrapDeps = Pick<WorkerDeps, 'database' | 'keyProvider' | 'log'>;

const CALLS_AT_ONCE = 8;

/** Wraps data keys anew, each by compare-and-set on what was read. One that does not unwrap does not stop the others. */
export async function rewrapKeys(
  deps: RewrapDeps,
  rotation: KeyRotationDoc,
  docs: UsableDataKey[],
): Promise<GroupResult> {
  let problem: AppError | null = null;
  const outcomes = await inParallel(docs, CALLS_AT_ONCE, async (doc) => {
    try {
      return await rewrapKey(deps, rotation, doc);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'secret_unreadable') throw error;
      deps.log.warn({ err: error, dataKey: doc._id }, 'a data key does not unwrap');
      problem = error;
      return false;
    }
  });
  return { moved: outcomes.filter(Boolean).length, problem };
}

async function rewrapKey(deps: RewrapDeps, { target }: KeyRotationDoc, doc: UsableDataKey): Promise<boolean> {
  const context = wrapContextOf(doc);
  const plain = await deps.keyProvider.unwrap(doc.wrapped, context);
  try {
    const wrapped = await deps.keyProvider.wrap(plain, context);
    if (wrapped.keyId !== target) throw new AppError('interrupted', { internal: `wrapped by ${wrapped.keyId}` });
    return await replaceWrapped(deps.database, doc, wrapped);
  } finally {
    plain.fill(0);
  }
}
