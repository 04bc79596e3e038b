/** Seals values anew under the newest data key, or moves them to another store: a group of documents at a time. */
import type { AnyBulkWriteOperation, Document } from 'mongodb';
import { AppError, toAppError } from '../../platform/errors.ts';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Leased } from '../../store/base/document.ts';
import type { Documents } from '../../store/database.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import { FREE } from '../../store/lease.ts';
import { type SealedCollection, type SealedPlace, sealedValuesOf } from '../../store/sealed-values.ts';
import type { WorkerDeps } from '../../work/job.ts';

type ResealDeps = Pick<WorkerDeps, 'database' | 'sealer' | 'secrets' | 'log'>;

/** What became of a group. `problem`: a value that does not open; the others were moved. */
export type GroupResult = { moved: number; problem: AppError | null };

type Doc = Documents[SealedCollection];
type Move = { doc: Doc; from: SealedPlace; jwe: string; to: StoredSecret };

/**
 * Moves what is old in these documents. Each write names what was read, the fence included: a worker that took a lease
 * meanwhile has the old value in hand and may write it, so its credential is left for the next round. Nobody waits for us.
 */
export async function moveValues(
  deps: ResealDeps,
  rotation: KeyRotationDoc,
  name: SealedCollection,
  docs: Doc[],
): Promise<GroupResult> {
  const old = docs.flatMap((doc) =>
    sealedValuesOf(name, doc)
      .filter(({ stored }) => isOld(rotation, stored))
      .map((from) => ({ doc, from })),
  );
  const values = await deps.secrets.get(old.map(({ from }) => from));
  const found = old.map((one, index) => ({ ...one, jwe: values[index] ?? null }));
  const target = rotation.kind === 'store' ? rotation.target : null;
  const { moves, problem } = await prepare(deps, rotation, found);
  const placed = await place(deps, moves, target);
  const written = await write(deps, name, placed);
  await removeSuperseded(deps, name, placed);
  return { moved: written, problem };
}

function isOld({ kind, version, target }: KeyRotationDoc, stored: StoredSecret): boolean {
  return kind === 'store' ? stored.store !== target : stored.keyVersion < (version ?? 0);
}

type Found = { doc: Doc; from: SealedPlace; jwe: string | null };
type Prepared = { doc: Doc; from: SealedPlace; jwe: string; keyVersion: number };

/** Opened and sealed anew, or as it is when it only moves. One value that does not open does not stop the others. */
async function prepare(deps: ResealDeps, rotation: KeyRotationDoc, found: Found[]) {
  let problem: AppError | null = null;
  const moves = await Promise.all(
    found.map(async ({ doc, from, jwe }): Promise<Prepared[]> => {
      try {
        if (jwe === null)
          throw new AppError('secret_unreadable', { internal: `missing in store ${from.stored.store}` });
        if (rotation.kind === 'store') return [{ doc, from, jwe, keyVersion: from.stored.keyVersion }];
        const sealed = await deps.sealer.seal(await deps.sealer.open(jwe, from.context), from.context);
        if (sealed.keyVersion < (rotation.version ?? 0)) throw new AppError('interrupted', { internal: 'an old key' });
        return [{ doc, from, ...sealed }];
      } catch (thrown) {
        const error = toAppError(thrown);
        if (error.code !== 'secret_unreadable') throw error;
        deps.log.warn({ err: error, objectId: from.context.objectId }, 'a sealed value does not open');
        problem = error;
        return [];
      }
    }),
  );
  return { moves: moves.flat(), problem };
}

/** Puts the values where they are to lie: durable before any document names them. */
async function place(deps: ResealDeps, moves: Prepared[], target: string | null): Promise<Move[]> {
  const placed: Move[] = [];
  for (const [name, group] of Map.groupBy(moves, ({ from }) => target ?? from.stored.store)) {
    const store = await deps.secrets.named(name);
    const items = group.map(({ from, jwe, keyVersion }) => ({ context: from.context, sealed: { jwe, keyVersion } }));
    const stored = await store.put(items);
    placed.push(...group.map(({ doc, from, jwe }, index) => ({ doc, from, jwe, to: stored[index]! })));
  }
  return placed;
}

async function write(deps: ResealDeps, name: SealedCollection, moves: Move[]): Promise<number> {
  if (moves.length === 0) return 0;
  const byDoc = Map.groupBy(moves, ({ doc }) => doc._id);
  const writes = [...byDoc.values()].map((group): AnyBulkWriteOperation<{ _id: string } & Document> => {
    const { doc } = group[0]!;
    const same = group.map(({ from: { path, stored } }) => ({
      [`${path}.store`]: stored.store,
      [`${path}.keyVersion`]: stored.keyVersion,
      ...(stored.jwe !== undefined && { [`${path}.jwe`]: stored.jwe }),
      ...(stored.ref !== undefined && { [`${path}.ref`]: stored.ref }),
    }));
    const filter = { _id: doc._id, tenantId: doc.tenantId, ...Object.assign({}, ...same), ...unclaimed(doc) };
    const $set = Object.fromEntries(group.map(({ from, to }) => [from.path, to]));
    // Whoever let a lease lapse may hold the old value still: its fence ends.
    const lapsed = 'lease' in doc && doc.lease !== null;
    return { updateOne: { filter, update: { $set, ...(lapsed && { $inc: { fence: 1 } }) } } };
  });
  const collection = deps.database.db.collection<{ _id: string } & Document>(name);
  return (await collection.bulkWrite(writes, { ordered: false })).modifiedCount;
}

function unclaimed(doc: Doc | (Doc & Leased)): object {
  return 'fence' in doc ? { fence: doc.fence, ...FREE } : {};
}

/** Outside MongoDB a value goes when no document names it any more: the old one, or ours when somebody was faster. */
async function removeSuperseded(deps: ResealDeps, name: SealedCollection, moves: Move[]): Promise<void> {
  const outside = moves.filter(({ from, to }) => from.stored.ref !== undefined || to.ref !== undefined);
  if (outside.length === 0) return;
  const ids = outside.map(({ doc }) => doc._id);
  const now = await deps.database.db
    .collection<{ _id: string } & Document>(name)
    .find({ _id: { $in: ids } })
    .toArray();
  const named = new Set(
    now.flatMap((doc) => sealedValuesOf(name, doc as unknown as never).map(({ stored }) => nameOf(stored))),
  );
  const gone = outside
    .flatMap(({ from, to }) => [from.stored, to].map((stored) => ({ context: from.context, stored })))
    .filter(({ stored }) => stored.ref !== undefined && !named.has(nameOf(stored)));
  await deps.secrets.delete(gone);
}

function nameOf({ store, ref }: StoredSecret): string {
  return `${store} ${ref}`;
}
