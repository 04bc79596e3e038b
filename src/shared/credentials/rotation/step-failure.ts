/** A step of a rotation fails: it is tried again later, another secret is minted, or the rotation ends while the old one is good. */

import { backoff } from '../../platform/backoff.ts';
import type { AppError } from '../../platform/errors.ts';
import type { CredentialDoc, RotationDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { Rotating } from './rotator-call.ts';
import { afterLease, commitStep, overUntilPolicy } from './step-record.ts';
import { giveUp } from './steps.ts';

/** After this many rejections of one pending secret another is minted. */
const MAX_REJECTIONS = 3;

/** After this many secrets the rotation is given up. */
const MAX_MINTS = 3;

/** When the other side refuses to end an old secret only a person can help; it is asked again after this long. Milliseconds. */
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
      rotation: { changes: { failures, rejections } },
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
      rotation: { changes: { discard: { code, next: 'mint' }, failures: 0, rejections: 0 } },
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
  return commitStep(deps, doc, { ...overUntilPolicy(deps, doc, { failed: true }), entry }, signal);
}
