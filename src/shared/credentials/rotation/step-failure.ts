/** What becomes of a rotation when a step fails: again later, another secret, or the end while the old one is good. */

import { backoff } from '../../platform/backoff.ts';
import type { AppError } from '../../platform/errors.ts';
import type { CredentialDoc, RotationDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { Rotating } from './call.ts';
import { afterLease, commitStep, nextByPolicy } from './commit.ts';
import { giveUp } from './steps.ts';

/** So often one pending secret is tried before another is minted, and so many are minted. */
const MAX_REJECTIONS = 3;
const MAX_MINTS = 3;

/** An old secret that the other side will not end is tried this often: only a person can help. */
const HOPELESS_MS = 86_400_000;

/** Whether the rotation goes on at once, and the credential after the record. Throws `interrupted` when the lease is lost. */
export type AfterFailure = { doc: CredentialDoc; goesOn: boolean };

/** Records a failed step. Throws as `commitStep`. */
export async function recordFailure(
  deps: WorkerDeps,
  doc: Rotating,
  error: AppError,
  signal: AbortSignal,
): Promise<AfterFailure> {
  const { step, discard, attempt } = doc.rotation;
  const rejections = doc.rotation.rejections + (error.code === 'rotation_unverified' ? 1 : 0);
  if (rejections >= MAX_REJECTIONS && !discard) {
    return { doc: await replacePending(deps, doc, attempt < MAX_MINTS, signal), goesOn: true };
  }
  const hopeless = error.retry === 'never' || error.retry === 'park';
  if (hopeless && !discard && step !== 'promoted') {
    return { doc: await giveUp(deps, doc, error.code, signal), goesOn: true };
  }
  const failures = doc.rotation.failures + (error.retry === 'later' ? 0 : 1);
  const delayMs = hopeless ? HOPELESS_MS : pauseAfter(deps, failures, error);
  const after = await commitStep(
    deps,
    doc,
    {
      set: { 'rotation.failures': failures, 'rotation.rejections': rejections },
      dueAt: new Date(deps.clock.now() + delayMs),
      entry: {
        type: 'credential.rotation_failed',
        outcome: 'failure',
        reason: error.code,
        detail: { step: nameOf(doc.rotation), failures, retryInMs: delayMs },
      },
    },
    signal,
  );
  return { doc: after, goesOn: false };
}

function pauseAfter(deps: Pick<WorkerDeps, 'random'>, failures: number, error: AppError): number {
  return error.retryAfterMs ?? backoff(Math.max(1, failures), deps.random.fraction());
}

function nameOf({ step, discard }: RotationDoc): string {
  return discard ? 'discard' : step;
}

/** The same rejected secret is not tried for ever. */
async function replacePending(
  deps: WorkerDeps,
  doc: Rotating,
  again: boolean,
  signal: AbortSignal,
): Promise<CredentialDoc> {
  const code = 'rotation_unverified' as const;
  if (!again) return giveUp(deps, doc, code, signal);
  return commitStep(
    deps,
    doc,
    {
      set: { 'rotation.discard': { code, next: 'mint' }, 'rotation.failures': 0, 'rotation.rejections': 0 },
      dueAt: afterLease(deps),
      entry: { type: 'credential.rotation_failed', outcome: 'failure', reason: code, detail: { step: 'applied' } },
    },
    signal,
  );
}

/** A rotation that the policy wants and that cannot even be planned. */
export function recordUnplanned(
  deps: WorkerDeps,
  doc: CredentialDoc,
  error: AppError,
  signal: AbortSignal,
): Promise<CredentialDoc> {
  const entry = { type: 'credential.rotation_failed', outcome: 'failure' as const, reason: error.code };
  return commitStep(deps, doc, { set: {}, dueAt: nextByPolicy(deps, doc, true), entry }, signal);
}
