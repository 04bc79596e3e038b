/** A refresh ends in one of three ways: a new generation, a failure that is tried again, or the end of the grant. */

import { contextOf } from '../../keys/material.ts';
import { backoff } from '../../platform/backoff.ts';
import type { AppError } from '../../platform/errors.ts';
import type { Change } from '../../store/commit.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import { type CredentialDoc, findCredentialById } from '../../store/lifecycle/credentials.ts';
import { datesUpdate } from '../../store/lifecycle/credentials-due.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import { persist, retryWhileStoreIsDown } from '../../work/outages.ts';
import { credentialChange } from '../change.ts';
import { allows } from '../lifecycle.ts';
import { type Generation, generationDue, generationFields, placeGeneration } from '../secret-generation.ts';

type OutcomeDeps = Pick<
  WorkerDeps,
  'commit' | 'clock' | 'random' | 'log' | 'database' | 'workerId' | 'secrets' | 'config'
>;

/**
 * Commits the new generation of a held credential. When the credential came to rest meanwhile, or the lease was lost, the answer is
 * adopted instead. Throws `store_unavailable` when `signal` aborts.
 */
export async function commitRefresh(
  deps: OutcomeDeps,
  doc: CredentialDoc,
  sealed: Generation,
  signal: AbortSignal,
): Promise<void> {
  const next = await retryWhileStoreIsDown(deps, signal, () => placeGeneration(deps, doc, sealed));
  const change = credentialChange(deps, doc, {
    transition: 'refresh',
    ...refreshed(deps, doc, next),
    onlyChanges: true,
  });
  if ((await persist(deps, change, signal)) === 'committed') await deletePrevious(deps, doc);
  else await adoptGeneration(deps, doc._id, next, { fence: doc.fence, signal });
}

/** The lease that the answer was asked for under, where it may still be ours. Absent: the answer is from a journal. */
type Adoption = { fence?: number; signal: AbortSignal };

/**
 * Commits an answer whose credential is not as it was when the provider was asked: a person quarantined it, the lease was taken
 * over, or the process died and its journal has the answer. The answer is newer than anything that the taker can have,
 * unless the generation has moved on. The fence is raised, so that the taker's own write fails.
 */
export async function adoptGeneration(
  deps: OutcomeDeps,
  credentialId: string,
  sealed: Generation,
  { fence, signal }: Adoption,
): Promise<void> {
  for (;;) {
    const doc = await retryWhileStoreIsDown(deps, signal, () => findCredentialById(deps.database, credentialId));
    if (!doc || doc.generation !== sealed.generation - 1 || !allows('refresh', doc.state)) {
      deps.log.warn({ credentialId, generation: sealed.generation }, 'an answer came too late to be of use');
      return;
    }
    const next = await retryWhileStoreIsDown(deps, signal, () => placeGeneration(deps, doc, sealed));
    const { set, ...request } = refreshed(deps, doc, next);
    const change = credentialChange(deps, doc, {
      transition: wasFeared(doc) ? 'recover' : 'refresh',
      ...request,
      set: { ...set, fence: doc.fence + 1 },
      reason: doc.fence === fence ? null : 'recovered_from_journal',
    });
    if ((await persist(deps, change, signal)) === 'committed') return deletePrevious(deps, doc);
  }
}

/** Whether a new consent was asked for only because nobody knew whether the refresh token was spent. */
function wasFeared({ state, lastError }: CredentialDoc): boolean {
  return state === 'reauthorization_required' && lastError?.code === 'refresh_outcome_unknown';
}

/** The fields that a new generation changes, and its entry. */
function refreshed(deps: OutcomeDeps, doc: CredentialDoc, next: Generation) {
  return {
    set: { ...generationFields(next), lease: null },
    due: generationDue(next),
    expect: asRead(doc),
    actor: { kind: 'worker' as const, id: deps.workerId },
    detail: {
      generation: next.generation,
      expiresAt: next.expiresAt === null ? null : new Date(next.expiresAt).toISOString(),
      latenessMs: doc.claimed.refresh ? Math.max(0, next.at - doc.claimed.refresh.getTime()) : null,
    },
  };
}

/** Stores beside MongoDB keep a value per generation; the old one goes last. Should it stay behind, it is sealed. */
async function deletePrevious(deps: OutcomeDeps, doc: CredentialDoc): Promise<void> {
  if (!doc.secret || doc.secret.jwe) return;
  await deps.secrets
    .delete([{ context: contextOf(doc, doc.generation), stored: doc.secret }])
    .catch((err) => deps.log.warn({ err, credentialId: doc._id }, 'an old generation was not deleted'));
}

/** Errors after which the person must consent again. Every other one is tried again for as long as it takes. */
const ENDS_THE_GRANT = new Set<string>(['provider_grant_ended', 'refresh_outcome_unknown']);

/**
 * Records a failed refresh and when it is due again, or that the grant has ended. Nothing is recorded when a quarantine came
 * meanwhile: the lease then stays until its end, so that the next holder knows that the refresh token may be spent.
 */
export async function recordFailure(
  deps: OutcomeDeps,
  doc: CredentialDoc,
  error: AppError,
  signal: AbortSignal,
): Promise<void> {
  const change = ENDS_THE_GRANT.has(error.code) ? endChange(deps, doc, error) : retryChange(deps, doc, error);
  await persist(deps, change, signal);
}

/** The fields that every failure sets. The fence moves on: the change must not be made twice when its own answer gets lost. */
function failed(deps: OutcomeDeps, doc: CredentialDoc, error: AppError) {
  const failures = doc.failures + (error.retry === 'later' ? 0 : 1);
  return {
    failures,
    lastError: { code: error.code, at: new Date(deps.clock.now()) },
    lease: null,
    fence: doc.fence + 1,
  };
}

function endChange(deps: OutcomeDeps, doc: CredentialDoc, error: AppError): Change {
  const set = failed(deps, doc, error);
  return credentialChange(deps, doc, {
    transition: 'require_reauthorization',
    set,
    expect: asRead(doc),
    actor: { kind: 'worker', id: deps.workerId },
    outcome: 'failure',
    reason: error.code,
    detail: { failures: set.failures, retryInMs: null },
  });
}

/** No transition: the state stays, and so does what was interrupted, for a failure does not tell whether the token is spent. */
function retryChange(deps: OutcomeDeps, doc: CredentialDoc, error: AppError): Change {
  const now = deps.clock.now();
  const fields = failed(deps, doc, error);
  const delayMs = pauseAfter(deps, error, fields.failures);
  const { $set, $unset } = datesUpdate({ refresh: new Date(now + delayMs) });
  return {
    operations: [
      {
        in: 'credentials',
        update: { ...asRead(doc), state: doc.state },
        set: { $set: { ...fields, updatedAt: new Date(now), ...$set }, $unset },
      },
    ],
    entries: [
      makeEntry(deps, {
        ...aboutCredential(doc),
        type: 'credential.refresh_failed',
        actor: { kind: 'worker', id: deps.workerId },
        outcome: 'failure',
        reason: error.code,
        detail: { failures: fields.failures, retryInMs: delayMs },
      }),
    ],
  };
}

/** A call that got no answer may still be under way: the provider gets time, so that the next attempt does not overtake it. */
function pauseAfter(deps: OutcomeDeps, error: AppError, failures: number): number {
  const pauseMs = error.retryAfterMs ?? backoff(Math.max(1, failures), deps.random.fraction());
  return error.unanswered ? Math.max(pauseMs, deps.config.callTimeoutMs) : pauseMs;
}
