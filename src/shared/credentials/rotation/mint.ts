/** The first step that costs something: a new secret is made, kept sealed, and only then used (promise 4). */
import { z } from 'zod';
import { contextOf, serialize } from '../../keys/material.ts';
import { AppError } from '../../platform/errors.ts';
import type { SealedValue } from '../../sealing/secret-stores/contract.ts';
import type { Change } from '../../store/commit.ts';
import { type CredentialDoc, findCredentialById, type RotationDoc } from '../../store/lifecycle/credentials.ts';
import { datesUpdate } from '../../store/lifecycle/credentials-due.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { OpenAction } from '../../work/journal.ts';
import { keepInJournal, persist, retryWhileKeysAreDown, retryWhileStoreIsDown } from '../../work/outages.ts';
import { makeCall, pendingOwner, type Rotating, type StepContext } from './rotator-call.ts';
import { afterLease, commitStep, type StepRecord, stepEntry } from './step-record.ts';

const replySchema = z.object({
  rotationId: z.string(),
  attempt: z.number(),
  sealed: z.object({ jwe: z.string(), keyVersion: z.number() }),
  metadata: z.record(z.string(), z.string()),
  expiresAt: z.number().nullable(),
});

/** A minted secret, sealed: it may be journalled. */
type Reply = z.infer<typeof replySchema>;

/** `planned` → `minted`. */
export async function mint(deps: WorkerDeps, doc: Rotating, context: StepContext): Promise<CredentialDoc> {
  const { rotator, isFresh, signal } = context;
  const call = await makeCall(deps, doc, signal);
  if (!isFresh(doc._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
  const atProvider = rotator.mintedBy === 'provider';
  if (atProvider) deps.journal.sent(doc._id, doc.fence);
  const minted = await rotator.mint(call);
  const { id: rotationId, attempt } = doc.rotation;
  const sealed = await retryWhileKeysAreDown(deps, () =>
    deps.sealer.seal(serialize(minted.material), contextOf(pendingOwner(doc), attempt)),
  );
  const reply = { rotationId, attempt, sealed, metadata: minted.metadata, expiresAt: minted.expiresAt };
  if (atProvider) keepInJournal(deps, doc, reply);
  const record = await mintedRecord(deps, doc, reply, signal);
  return commitStep(deps, doc, record, signal).catch(async (error) => {
    // The worker that has the lease now would have another secret made; this one is there.
    if (atProvider && error instanceof AppError && error.code === 'interrupted') await adopt(deps, doc._id, reply);
    throw error;
  });
}

async function mintedRecord(deps: WorkerDeps, doc: Rotating, reply: Reply, signal: AbortSignal): Promise<StepRecord> {
  const pending = await keep(deps, doc, reply.sealed, signal);
  const rotation: RotationDoc = {
    ...doc.rotation,
    step: 'minted',
    pending,
    metadata: reply.metadata,
    expiresAt: reply.expiresAt === null ? null : new Date(reply.expiresAt),
    failures: 0,
  };
  return { rotation, dueAt: afterLease(deps), entry: { type: 'credential.rotation_minted' } };
}

/** Puts the sealed value into its store. It waits for the store: a provider's answer is not lost while we run. */
function keep(deps: WorkerDeps, doc: Rotating, sealed: SealedValue, signal: AbortSignal) {
  const context = contextOf(pendingOwner(doc), doc.rotation.attempt);
  return retryWhileStoreIsDown(deps, signal, async () => (await deps.secrets.put([{ context, sealed }]))[0]!);
}

const NEVER = new AbortController().signal;

/** Commits a provider's answer that a dead process left in its journal, and has the rotation go on at once. */
export function adoptMinted(deps: WorkerDeps, action: OpenAction): Promise<void> {
  return adopt(deps, action.id, replySchema.parse(action.reply));
}

/** The fence is raised, so that a worker which is about to mint under an older one cannot write. */
async function adopt(deps: WorkerDeps, credentialId: string, reply: Reply): Promise<void> {
  for (;;) {
    const doc = await retryWhileStoreIsDown(deps, NEVER, () => findCredentialById(deps.database, credentialId));
    if (!doc?.rotation || !isAwaited(doc.rotation, reply)) return;
    const { rotation, entry } = await mintedRecord(deps, doc as Rotating, reply, NEVER);
    const { $set, $unset } = datesUpdate({ rotate: new Date(deps.clock.now()) });
    const set = { rotation, lease: null, fence: doc.fence + 1, ...$set };
    const update = { _id: doc._id, tenantId: doc.tenantId, fence: doc.fence };
    const change: Change = {
      operations: [{ in: 'credentials', update, set: { $set: set, $unset } }],
      entries: [stepEntry(deps, doc, { ...entry, reason: 'recovered_from_journal' })],
    };
    if ((await persist(deps, change, NEVER)) === 'committed') return;
  }
}

function isAwaited({ id, attempt, step }: RotationDoc, reply: Reply): boolean {
  return id === reply.rotationId && attempt === reply.attempt && step === 'planned';
}
