/** What becomes of a credential after a refresh: the new generation, a failure, or the end of the grant. */

import { contextOf } from '../../keys/material.ts';
import { backoff } from '../../platform/backoff.ts';
import type { AppError } from '../../platform/errors.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import { RELEASED } from '../../store/lease.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import { persist, retryWhileStoreIsDown } from '../../work/persist.ts';
import { TRANSITIONS, transit } from '../lifecycle.ts';
import { type Generation, generationUpdate, onlyChanges, placeGeneration } from '../secret-generation.ts';

type OutcomeDeps = Pick<
  WorkerDeps,
  'commit' | 'clock' | 'random' | 'log' | 'database' | 'workerId' | 'secrets' | 'config'
>;

/** Commits the new generation under compare-and-set on fence and generation. Throws `store_unavailable` when `signal` aborts. */
export async function commitRefresh(
  deps: OutcomeDeps,
  doc: CredentialDoc,
  sealed: Generation,
  signal: AbortSignal,
): Promise<void> {
  const next = await retryWhileStoreIsDown(deps, signal, () => placeGeneration(deps, doc, sealed));
  const outcome = await persist(
    deps,
    {
      operations: [
        {
          in: 'credentials',
          update: asRead(doc),
          // No state here: a credential that was quarantined meanwhile keeps its newest token, and stays quarantined.
          set: onlyChanges(generationUpdate(next, RELEASED), doc),
        },
      ],
      entries: [refreshedEntry(deps, doc, next, false)],
    },
    signal,
  );
  if (outcome === 'committed') await deletePrevious(deps, doc);
  else await adoptGeneration(deps, doc._id, next, signal);
}

/**
 * Commits an answer whose lease is no longer ours: after a crash, from the journal, or when the lease was taken over. The
 * answer is newer than anything that the taker can have, unless the generation has moved on. The fence is raised, so
 * that the taker's own write fails.
 */
export async function adoptGeneration(
  deps: OutcomeDeps,
  credentialId: string,
  sealed: Generation,
  signal: AbortSignal,
): Promise<void> {
  const credentials = deps.database.collection('credentials');
  for (;;) {
    const doc = await retryWhileStoreIsDown(deps, signal, () => credentials.findOne({ _id: credentialId }));
    if (!doc || doc.generation !== sealed.generation - 1 || doc.state === 'revoked' || doc.state === 'destroyed') {
      deps.log.warn({ credentialId, generation: sealed.generation }, 'an answer came too late to be of use');
      return;
    }
    const next = await retryWhileStoreIsDown(deps, signal, () => placeGeneration(deps, doc, sealed));
    const recovers = doc.state === 'reauthorization_required' && doc.lastError?.code === 'refresh_outcome_unknown';
    const state = recovers ? transit('recover', doc.state).state : doc.state;
    const set = generationUpdate(next, { ...RELEASED, state, fence: doc.fence + 1 });
    const outcome = await persist(
      deps,
      {
        operations: [
          {
            in: 'credentials',
            update: { ...asRead(doc), state: doc.state },
            set,
          },
        ],
        entries: [refreshedEntry(deps, doc, next, true)],
      },
      signal,
    );
    if (outcome === 'committed') return deletePrevious(deps, doc);
  }
}

function refreshedEntry(deps: OutcomeDeps, doc: CredentialDoc, next: Generation, recovered: boolean): Entry {
  return makeEntry(deps, {
    ...aboutCredential(doc),
    type: TRANSITIONS.refresh.entry,
    actor: { kind: 'worker', id: deps.workerId },
    reason: recovered ? 'recovered_from_journal' : null,
    detail: {
      generation: next.generation,
      expiresAt: next.expiresAt === null ? null : new Date(next.expiresAt).toISOString(),
      latenessMs: doc.claimed.refresh ? Math.max(0, next.at - doc.claimed.refresh.getTime()) : null,
    },
  });
}

/** Stores beside MongoDB keep a value per generation; the old one goes last. What stays behind is only sealed. */
async function deletePrevious(deps: OutcomeDeps, doc: CredentialDoc): Promise<void> {
  if (!doc.secret || doc.secret.jwe) return;
  await deps.secrets
    .delete([{ context: contextOf(doc, doc.generation), stored: doc.secret }])
    .catch((err) => deps.log.warn({ err, credentialId: doc._id }, 'an old generation was not deleted'));
}

/** Errors after which the person must consent again. Every other one is tried again for as long as it takes. */
const ENDS_THE_GRANT = new Set<string>(['provider_grant_ended', 'refresh_outcome_unknown']);

/** Records a failed refresh and when it is due again, or that the grant has ended. */
export async function recordFailure(
  deps: OutcomeDeps,
  doc: CredentialDoc,
  error: AppError,
  signal: AbortSignal,
): Promise<void> {
  const ends = ENDS_THE_GRANT.has(error.code);
  const now = deps.clock.now();
  const counts = error.retry !== 'later';
  const failures = doc.failures + (counts ? 1 : 0);
  const { state, entry } = ends
    ? transit('require_reauthorization', doc.state)
    : { state: doc.state, entry: 'credential.refresh_failed' };
  const pauseMs = error.retryAfterMs ?? backoff(Math.max(1, failures), deps.random.fraction());
  // Whoever got no answer gives the provider time to act, so that the next attempt is not overtaken by this one.
  const delayMs = error.unanswered ? Math.max(pauseMs, deps.config.callTimeoutMs) : pauseMs;
  await persist(
    deps,
    {
      operations: [
        {
          in: 'credentials',
          // With the state: a quarantine that came meanwhile is not undone by a failure.
          update: { ...asRead(doc), state: doc.state },
          set: {
            $set: {
              state,
              failures,
              lastError: { code: error.code, at: new Date(now) },
              updatedAt: new Date(now),
              lease: null,
              // The condition must not hold twice: the answer of this very commit may get lost.
              fence: doc.fence + 1,
              // A failure settles what was interrupted only when the grant is over.
              ...(ends ? { interrupted: null } : { 'due.refresh': new Date(now + delayMs) }),
            },
            $unset: { 'claimed.refresh': '', ...(ends && { 'due.refresh': '' }) },
          },
        },
      ],
      entries: [
        makeEntry(deps, {
          ...aboutCredential(doc),
          type: entry,
          actor: { kind: 'worker', id: deps.workerId },
          outcome: 'failure',
          reason: error.code,
          detail: { failures, retryInMs: ends ? null : delayMs },
        }),
      ],
    },
    signal,
  );
}
