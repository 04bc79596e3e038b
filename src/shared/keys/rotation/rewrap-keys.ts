/** What else a rotation moves: the wrapping of data keys, and the fingerprints of tokens. */

import { inParallel } from '../../platform/concurrency/in-parallel.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import { type UsableDataKey, wrapContextOf } from '../../sealing/data-keys.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import { FREE } from '../../store/lease.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { fingerprintsOf, openMaterial } from '../material.ts';
import type { GroupResult } from './reseal-values.ts';

type KeyDeps = Pick<WorkerDeps, 'database' | 'keyProvider' | 'sealer' | 'secrets' | 'log'>;

const CALLS_AT_ONCE = 8;

/** Wraps data keys anew, each by compare-and-set on what was read. */
export async function rewrap(deps: KeyDeps, rotation: KeyRotationDoc, docs: UsableDataKey[]): Promise<GroupResult> {
  let problem: AppError | null = null;
  const outcomes = await inParallel(docs, CALLS_AT_ONCE, async (doc) => {
    try {
      return await rewrapOne(deps, rotation, doc);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'secret_unreadable') throw error;
      deps.log.warn({ err: error, dataKey: doc._id }, 'a data key does not unwrap');
      problem = error;
      return 0;
    }
  });
  return { moved: outcomes.reduce((sum, one) => sum + one, 0), problem };
}

async function rewrapOne(deps: KeyDeps, { target }: KeyRotationDoc, doc: UsableDataKey): Promise<number> {
  const context = wrapContextOf(doc);
  const plain = await deps.keyProvider.unwrap(doc.wrapped, context);
  try {
    const wrapped = await deps.keyProvider.wrap(plain, context);
    if (wrapped.keyId !== target) throw new AppError('interrupted', { internal: `wrapped by ${wrapped.keyId}` });
    const { keyId, ciphertext } = doc.wrapped;
    const read = { _id: doc._id, tenantId: doc.tenantId, 'wrapped.keyId': keyId, 'wrapped.ciphertext': ciphertext };
    const written = await deps.database.collection('data_keys').updateOne(read, { $set: { wrapped } });
    return written.modifiedCount;
  } finally {
    plain.fill(0);
  }
}

/** Gives credentials fingerprints of their present tokens under the newest key; those of the tokens before stay. */
export async function refingerprint(
  deps: KeyDeps,
  rotation: KeyRotationDoc,
  docs: CredentialDoc[],
): Promise<GroupResult> {
  let problem: AppError | null = null;
  const fresh = await Promise.all(
    docs.map(async (doc) => {
      try {
        return [{ doc, fingerprints: await fingerprintsFor(deps, rotation, doc) }];
      } catch (thrown) {
        const error = toAppError(thrown);
        if (error.code !== 'secret_unreadable') throw error;
        problem = error;
        return [];
      }
    }),
  );
  const writes = fresh.flat().map(({ doc, fingerprints }) => {
    const { _id, tenantId, fence, generation } = doc;
    // A worker that took a lease meanwhile may write a new generation with fingerprints that it read before.
    const filter = { _id, tenantId, fence, generation, ...FREE };
    const update = { $set: { fingerprints }, ...(doc.lease !== null && { $inc: { fence: 1 } }) };
    return { updateOne: { filter, update } };
  });
  if (writes.length === 0) return { moved: 0, problem };
  const written = await deps.database.collection('credentials').bulkWrite(writes, { ordered: false });
  return { moved: written.modifiedCount, problem };
}

async function fingerprintsFor(deps: KeyDeps, { version }: KeyRotationDoc, doc: CredentialDoc): Promise<string[]> {
  const material = await openMaterial(deps, doc);
  const present = await fingerprintsOf(deps, doc.tenantId, material);
  if (!present.every((one) => one.startsWith(`v${version}.`))) {
    throw new AppError('interrupted', { internal: 'an old fingerprint key' });
  }
  const tokens = [material.accessToken, material.refreshToken].filter((token) => token !== undefined);
  const known = await Promise.all(tokens.map((token) => deps.sealer.fingerprints(doc.tenantId, token.reveal())));
  const past = doc.fingerprints.filter((one) => !known.flat().includes(one));
  return [...present, ...past];
}
