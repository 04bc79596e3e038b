/**
 * Renews access tokens, with their refresh token (RFC 6749 §6) or by asking again in the client's own name (§4.4). The sweep
 * found them due, a caller of the token release waits for them, or an event asks for it. One job carries several
 * credentials; each is refreshed under its lease and committed by itself.
 */

import { settleEvents } from '../../events/settling.ts';
import { openMaterial } from '../../keys/material.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import type { Secret } from '../../platform/secret.ts';
import type { Provider, TokenReply } from '../../providers/contract.ts';
import { type CredentialDoc, findCredentialsById } from '../../store/lifecycle/credentials.ts';
import { dropDatesAtRest } from '../../store/lifecycle/credentials-due.ts';
import { type EventDoc, findOpenEvents } from '../../store/lifecycle/events.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import type { OpenAction } from '../../work/journal.ts';
import { type Hold, hold } from '../../work/leases.ts';
import { keepInJournal, retryWhileKeysAreDown } from '../../work/outages.ts';
import { isRenewable, isStale } from '../freshness.ts';
import { type Generation, generationSchema, makeGeneration } from '../secret-generation.ts';
import { endOrValidate, isDueToEndOrValidate } from './expiry-and-validation.ts';
import { adoptGeneration, commitRefresh, recordFailure } from './outcome.ts';

export const createRefreshJob = defineJob('refresh', (deps) => ({
  async process(payload, signal) {
    const events = await findOpenEvents(deps.database, payload.eventIds ?? []);
    const asked = new Map(events.map((event) => [event.credentialId as string, event]));
    const ids = [...new Set([...(payload.credentialIds ?? []), ...asked.keys()])];
    if (ids.length === 0) return;
    const where = { state: 'active' };
    const held = await hold(deps, 'credentials', { ids, purpose: 'refresh', where, op: 'refresh', signal });
    try {
      const wanted = held.docs.filter((doc) => isWanted(deps, doc, payload.reason, asked.get(doc._id)));
      await Promise.all(wanted.map((doc) => refreshOne(deps, { held, doc, signal })));
      const others = held.docs.filter(isDueToEndOrValidate);
      await Promise.all(others.map((doc) => deps.placesAt(doc.service).run(() => endOrValidate(deps, doc, signal))));
      const notHeld = ids.filter((id) => !held.docs.some((doc) => doc._id === id));
      await dropDatesAtRest(deps.database, notHeld);
    } finally {
      await held.end();
    }
    await settleRequests(deps, events);
  },

  recover: (action) => recoverAction(deps, action),
}));

/** Judged on what was read under the lease: another job may have done the work already. */
function isWanted(deps: Pick<WorkerDeps, 'clock'>, doc: CredentialDoc, reason: string, event?: EventDoc): boolean {
  if (!isRenewable(doc)) return false;
  if (doc.claimed.refresh) return true;
  if (event) return !changedSince(doc, event.receivedAt);
  return reason === 'demand' && isStale(doc, deps.clock.now());
}

function changedSince(doc: CredentialDoc, at: Date): boolean {
  return doc.secretChangedAt !== null && doc.secretChangedAt >= at;
}

type Task = {
  held: Pick<Hold<CredentialDoc>, 'isFresh' | 'released' | 'keep'>;
  doc: CredentialDoc;
  signal: AbortSignal;
};

/** Never throws. The write takes up no place at the provider: the next call is made meanwhile. */
async function refreshOne(deps: WorkerDeps, task: Task): Promise<void> {
  const answer = await ask(deps, task);
  count(deps, task.doc, answer);
  await settle(deps, task, answer);
}

/** The next generation, sealed and in the journal; an error to record; or null when nothing was begun. */
type Answer = Generation | AppError | null;

/** Counts what came of a refresh, before it is committed: what the journal commits later is not counted twice. */
function count({ metrics }: Pick<WorkerDeps, 'metrics'>, { service }: CredentialDoc, answer: Answer): void {
  if (answer === null) return;
  metrics.refreshes.inc({ service, outcome: answer instanceof AppError ? answer.code : 'refreshed' });
}

async function ask(deps: WorkerDeps, task: Task): Promise<Answer> {
  try {
    return await deps
      .placesAt(task.doc.service)
      .run(async () => (task.signal.aborted ? null : callProvider(deps, task)));
  } catch (thrown) {
    return toAppError(thrown);
  }
}

async function callProvider(deps: WorkerDeps, { held, doc, signal }: Task): Promise<Generation> {
  const provider = deps.providers.get(doc.service);
  const send =
    doc.kind === 'client_credentials' ? askAgain(provider, doc) : await refreshWith(deps, provider, doc, signal);
  if (!held.isFresh(doc._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
  deps.journal.sent(doc._id, doc.fence);
  const reply = await send();
  const next = await retryWhileKeysAreDown(deps, () => makeGeneration(deps, provider, doc, reply));
  keepInJournal(deps, doc, next);
  return next;
}

/** Once sent, the answer is waited for even while the process drains: it exists only once. */
const NEVER = new AbortController().signal;

type Send = () => Promise<TokenReply>;

/** The call with the present refresh token, once that is known to be unspent. */
async function refreshWith(
  deps: WorkerDeps,
  provider: Provider,
  doc: CredentialDoc,
  signal: AbortSignal,
): Promise<Send> {
  const { refreshToken } = await openMaterial(deps, doc);
  const { refresh } = provider;
  if (!refresh || !refreshToken) throw new AppError('provider_unsupported');
  await assertUnspent(provider, doc, refreshToken, signal);
  return () => refresh(refreshToken, { signal: NEVER, ...target(doc) });
}

/** A token in the client's own name costs nothing that could be spent: it is asked for as the first one was. */
function askAgain(provider: Provider, doc: CredentialDoc): Send {
  const { clientCredentials } = provider;
  if (!clientCredentials) throw new AppError('provider_unsupported');
  return () => clientCredentials({ scopes: doc.scopes, ...target(doc) }, { signal: NEVER });
}

function target({ resource }: CredentialDoc): { resource?: string } {
  return resource === null ? {} : { resource };
}

/** Commits the answer. Never throws: without MongoDB the journal keeps it, and this or the next process commits it. */
async function settle(deps: WorkerDeps, { held, doc, signal }: Task, answer: Answer): Promise<void> {
  try {
    if (answer instanceof AppError) await recordFailure(deps, doc, answer, signal);
    else if (answer) await commitRefresh(deps, doc, answer, signal);
    if (answer) held.released(doc._id);
    deps.journal.done(doc._id, doc.fence);
  } catch (err) {
    // The lease stays until its end, so that nobody takes the refresh token for unspent.
    held.keep(doc._id);
    deps.log.warn({ err, credentialId: doc._id }, 'a refresh could not be recorded');
  }
}

/**
 * A provider that ends the whole grant on reuse must not see a spent refresh token. Ours may be spent when the worker
 * before us did not come back, or when an attempt failed without a clear answer: then the provider is asked first. Where it
 * cannot be asked, a crash ends in a new consent, but an outage does not: it must not end what may well be healthy.
 */
async function assertUnspent(
  provider: Provider,
  doc: CredentialDoc,
  refreshToken: Secret,
  signal: AbortSignal,
): Promise<void> {
  const crashed = doc.interrupted?.purpose === 'refresh';
  if (!provider.rotatesRefreshTokens || !(crashed || doc.failures > 0)) return;
  const verdict = (await provider.introspectRefreshToken?.(refreshToken, { signal })) ?? 'unknown';
  if (verdict === 'inactive' || (verdict === 'unknown' && crashed)) throw new AppError('refresh_outcome_unknown');
}

/** An event asks that the credential is refreshed after its acceptance. It is settled by any refresh since, whatever caused that. */
async function settleRequests(deps: WorkerDeps, events: EventDoc[]): Promise<void> {
  if (events.length === 0) return;
  const ids = events.map((event) => event.credentialId as string);
  const docs = await findCredentialsById(deps.database, ids);
  const byId = new Map(docs.map((doc) => [doc._id, doc]));
  await settleEvents(
    deps,
    events.map((event) => ({ event, error: judge(event, byId.get(event.credentialId as string)) })),
  );
}

function judge(event: EventDoc, doc: CredentialDoc | undefined): AppError | null {
  if (!doc || doc.tenantId !== event.tenantId) return new AppError('not_found');
  if (changedSince(doc, event.receivedAt)) return null;
  if (doc.state === 'reauthorization_required') return new AppError('reauthorization_required');
  if (doc.state !== 'active') {
    return new AppError('transition_refused', {
      detail: `The credential is ${doc.state}; only an active one is refreshed.`,
    });
  }
  if (!isRenewable(doc))
    return new AppError('provider_unsupported', { detail: 'The credential has no refresh token.' });
  return new AppError(doc.lastError?.code ?? 'interrupted', { retryAfterMs: 2_000 });
}

/** Commits an answer that a dead process received and did not commit. */
function recoverAction(deps: WorkerDeps, action: OpenAction): Promise<void> {
  return adoptGeneration(deps, action.id, generationSchema.parse(action.reply), { signal: NEVER });
}
