/** Seals values anew under the newest data key, or moves them to another store: a group of documents at a time. */
import { AppError, toAppError } from '../../platform/errors.ts';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import {
  listSealedValues,
  replaceSealedValues,
  type SealedCollection,
  type SealedDocument,
  type SealedPlace,
  type SealedReplacement,
  sealedValuesOf,
} from '../../store/sealed-values.ts';
import type { WorkerDeps } from '../../work/job.ts';

type ResealDeps = Pick<WorkerDeps, 'database' | 'sealer' | 'secrets' | 'log'>;

/** How many documents of a group were moved. `problem`: a value that does not open; the others were moved. */
export type GroupResult = { moved: number; problem: AppError | null };

/**
 * Moves what is old in these documents. A document that a worker took meanwhile is left for the next round: nobody waits
 * for us.
 */
export async function resealValues(
  deps: ResealDeps,
  rotation: KeyRotationDoc,
  name: SealedCollection,
  docs: SealedDocument[],
): Promise<GroupResult> {
  const found = await readOld(deps, rotation, name, docs);
  const { resealed, problem } = await resealAll(deps, rotation, found);
  const replacements = await placeAll(deps, rotation, resealed);
  const moved = await replaceSealedValues(deps.database, name, replacements);
  await removeSuperseded(deps, name, replacements);
  return { moved, problem };
}

/** A value that is to be moved; null: it is not in the store that its document names. */
type Found = { doc: SealedDocument; from: SealedPlace; jwe: string | null };

async function readOld(
  { secrets }: ResealDeps,
  rotation: KeyRotationDoc,
  name: SealedCollection,
  docs: SealedDocument[],
): Promise<Found[]> {
  const old = docs.flatMap((doc) =>
    sealedValuesOf(name, doc)
      .filter(({ stored }) => isOld(rotation, stored))
      .map((from) => ({ doc, from })),
  );
  const values = await secrets.get(old.map(({ from }) => from));
  return old.map((one, index) => ({ ...one, jwe: values[index] ?? null }));
}

function isOld({ kind, version, target }: KeyRotationDoc, stored: StoredSecret): boolean {
  return kind === 'store' ? stored.store !== target : stored.keyVersion < (version ?? 0);
}

type Resealed = { doc: SealedDocument; from: SealedPlace; jwe: string; keyVersion: number };

/** One value that does not open does not stop the others. */
async function resealAll(deps: ResealDeps, rotation: KeyRotationDoc, found: Found[]) {
  let problem: AppError | null = null;
  const resealed = await Promise.all(
    found.map(async (one): Promise<Resealed[]> => {
      try {
        return [await reseal(deps, rotation, one)];
      } catch (thrown) {
        const error = toAppError(thrown);
        if (error.code !== 'secret_unreadable') throw error;
        deps.log.warn({ err: error, objectId: one.from.context.objectId }, 'a sealed value does not open');
        problem = error;
        return [];
      }
    }),
  );
  return { resealed: resealed.flat(), problem };
}

/** Opened and sealed anew, or as it is when it only moves. */
async function reseal({ sealer }: ResealDeps, rotation: KeyRotationDoc, { doc, from, jwe }: Found): Promise<Resealed> {
  const { context, stored } = from;
  if (jwe === null) throw new AppError('secret_unreadable', { internal: `missing in store ${stored.store}` });
  if (rotation.kind === 'store') return { doc, from, jwe, keyVersion: stored.keyVersion };
  const sealed = await sealer.seal(await sealer.open(jwe, context), context);
  if (sealed.keyVersion < (rotation.version ?? 0)) throw new AppError('interrupted', { internal: 'an old key' });
  return { doc, from, ...sealed };
}

/** Puts the values where they are to lie: durable before any document names them. */
async function placeAll(
  { secrets }: ResealDeps,
  rotation: KeyRotationDoc,
  resealed: Resealed[],
): Promise<SealedReplacement[]> {
  const placed: SealedReplacement[] = [];
  const target = rotation.kind === 'store' ? rotation.target : null;
  const byStore = Map.groupBy(resealed, ({ from }) => target ?? from.stored.store);
  for (const [name, group] of byStore) {
    const store = await secrets.named(name);
    const items = group.map(({ from, jwe, keyVersion }) => ({ context: from.context, sealed: { jwe, keyVersion } }));
    const stored = await store.put(items);
    placed.push(...group.map(({ doc, from }, index) => ({ doc, from, to: stored[index]! })));
  }
  return placed;
}

/** Outside MongoDB a value goes when no document names it any more: the old one, or ours when another worker was faster. */
async function removeSuperseded(
  { database, secrets }: ResealDeps,
  name: SealedCollection,
  replacements: SealedReplacement[],
): Promise<void> {
  const outside = replacements.filter(({ from, to }) => from.stored.ref !== undefined || to.ref !== undefined);
  if (outside.length === 0) return;
  const ids = outside.map(({ doc }) => doc._id);
  const present = await listSealedValues(database, name, ids);
  const named = new Set(present.map(({ stored }) => addressOf(stored)));
  const gone = outside
    .flatMap(({ from, to }) => [from.stored, to].map((stored) => ({ context: from.context, stored })))
    .filter(({ stored }) => stored.ref !== undefined && !named.has(addressOf(stored)));
  await secrets.delete(gone);
}

function addressOf({ store, ref }: StoredSecret): string {
  return `${store} ${ref}`;
}
