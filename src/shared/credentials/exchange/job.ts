/**
 * Brings credentials to life: redeems authorization codes (RFC 6749 §4.1.3), asks for client-credentials tokens (§4.4), and
 * takes in secrets that an app hands over. A code is good for one call, so a call that may have been made is not repeated.
 */
import { z } from 'zod';
import { settledOrPostponed } from '../../events/settling.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import type { Provider, TokenReply } from '../../providers/contract.ts';
import { makeEntry } from '../../store/entry.ts';
import { type CredentialDoc, findCredential } from '../../store/lifecycle/credentials.ts';
import { type EventDoc, findEvent, findEventById, OPEN_EVENT_STATUSES } from '../../store/lifecycle/events.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import type { OpenAction } from '../../work/journal.ts';
import { type Hold, hold } from '../../work/leases.ts';
import { keepInJournal, persist, retryWhileKeysAreDown, retryWhileStoreIsDown } from '../../work/outages.ts';
import { type Generation, generationSchema, makeGeneration, placeGeneration } from '../secret-generation.ts';
import { activationChange, type Birth, busy, findOrDraft } from './activation.ts';
import { sourceOf } from './secret-sources.ts';

const OPEN = { status: { $in: OPEN_EVENT_STATUSES } };

export const createExchangeJob = defineJob('exchange', (deps) => ({
  async process(payload, signal) {
    const ids = payload.eventIds ?? [];
    const held = await hold(deps, 'events', { ids, purpose: 'exchange', where: OPEN, op: 'exchange', signal });
    try {
      await Promise.all(held.docs.map((event) => settleOne(deps, event, held, signal)));
    } finally {
      await held.end();
    }
  },

  recover: (action) => recoverAction(deps, action),
}));

type Held = Pick<Hold<EventDoc>, 'isFresh' | 'keep'>;

async function settleOne(deps: WorkerDeps, event: EventDoc, held: Held, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    const error = await bringToLife(deps, event, held, signal).catch(toAppError);
    if (error) await recordFailure(deps, event, error, signal);
    deps.journal.done(event._id, event.fence);
  } catch (err) {
    // The lease stays until its end, so that nobody takes the code for unspent; the journal keeps the answer.
    held.keep(event._id);
    deps.log.warn({ err, eventId: event._id }, 'an exchange could not be recorded');
  }
}

async function bringToLife(deps: WorkerDeps, event: EventDoc, held: Held, signal: AbortSignal): Promise<undefined> {
  const data = { ...event.data, ...(await openSealed(deps, event)) };
  const source = sourceOf(event);
  if (source.once && event.interrupted) throw new AppError('exchange_interrupted');
  const provider = deps.providers.get((data as { service: string }).service);
  const birth = source.birth(provider, data as never);
  // The credential is held before the code is spent: another holder delays us now, and costs nothing.
  const target = await acquire(deps, event, birth);
  try {
    if (!held.isFresh(event._id)) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
    if (source.once) deps.journal.sent(event._id, event.fence);
    const reply = await source.reply(provider, data as never).catch((error) => {
      throw source.once ? onceOnly(toAppError(error)) : error;
    });
    await activate(deps, { event, provider, birth, reply, signal }, target);
  } finally {
    await target.end();
  }
}

/** A code that may have been redeemed is not sent again: the provider would end the grant (RFC 6749 §4.1.2). */
function onceOnly(error: AppError): AppError {
  return error.unanswered ? new AppError('exchange_interrupted', { cause: error }) : error;
}

async function openSealed(deps: WorkerDeps, event: EventDoc): Promise<Record<string, unknown>> {
  if (!event.sealed?.jwe) return {};
  const context = { tenantId: event.tenantId, objectId: event._id, generation: 1 };
  return JSON.parse(await deps.sealer.open(event.sealed.jwe, context));
}

type Target = { doc: CredentialDoc; isNew: boolean; end(): Promise<void> };

/** The credential to write to, held unless it is new. Throws `interrupted` while another worker holds it. */
async function acquire(deps: WorkerDeps, event: EventDoc, birth: Birth): Promise<Target> {
  const { doc, isNew } = await findOrDraft(deps, event, birth);
  if (isNew) return { doc, isNew, end: async () => {} };
  const held = await hold(deps, 'credentials', { ids: [doc._id], purpose: 'activate' });
  if (!held.docs[0]) throw busy();
  return { doc: held.docs[0], isNew, end: held.end };
}

type Arrival = { event: EventDoc; provider: Provider; birth: Birth; reply: TokenReply; signal: AbortSignal };

const MAX_RACES = 100;
const RACE_PAUSE_MS = 300;

/**
 * Writes the reply as the next generation of the target, or of what the target has become meanwhile. A worker that took the event
 * over while MongoDB was away has given it up; the answer is better than that.
 */
async function activate(deps: WorkerDeps, arrival: Arrival, first: Target): Promise<void> {
  const { provider, birth, reply, signal } = arrival;
  let event: EventDoc | null = arrival.event;
  const ref = { tenantId: event.tenantId, id: event._id };
  if (await commitTo(event, first)) return;
  // A quarantine that came meanwhile leaves the lease ours: it must end before the credential can be taken as it is now.
  await first.end();
  for (let race = 0; race < MAX_RACES; race += 1) {
    await deps.clock.sleep(RACE_PAUSE_MS, signal);
    event = await retryWhileStoreIsDown(deps, signal, () => findEvent(deps.database, ref));
    if (!event || event.status === 'succeeded') return;
    const target = await acquire(deps, event, birth).catch(toAppError);
    if (target instanceof AppError) continue;
    try {
      if (await commitTo(event, target)) return;
    } finally {
      await target.end();
    }
  }
  throw busy();

  async function commitTo(event: EventDoc, { doc, isNew }: Target): Promise<boolean> {
    const next = await retryWhileKeysAreDown(deps, () =>
      makeGeneration(deps, provider, { ...doc, kind: birth.kind }, reply),
    );
    return commitActivation(deps, { event, doc, isNew, birth, next }, signal);
  }
}

type Activation = { event: EventDoc; doc: CredentialDoc; isNew: boolean; birth: Birth; next: Generation };

/** False when the credential or the event is not as it was read: look again. */
async function commitActivation(deps: WorkerDeps, activation: Activation, signal: AbortSignal): Promise<boolean> {
  const { event, doc, isNew, birth, next: sealed } = activation;
  keepInJournal(deps, event, { doc: isNew ? { ...doc } : { _id: doc._id }, isNew, birth, next: sealed });
  const next = await retryWhileStoreIsDown(deps, signal, () => placeGeneration(deps, doc, sealed));
  const outcome = await persist(deps, activationChange(deps, { ...activation, next }), signal);
  return outcome === 'committed';
}

async function recordFailure(deps: WorkerDeps, event: EventDoc, error: AppError, signal: AbortSignal): Promise<void> {
  const { service, subject } = event.data as { service?: string; subject?: string };
  const verdict = settledOrPostponed(deps, event, error);
  await persist(
    deps,
    {
      operations: [
        {
          in: 'events',
          update: { _id: event._id, tenantId: event.tenantId, fence: event.fence },
          // The condition must not hold twice: the answer of this very commit may get lost.
          set: { ...verdict, $inc: { fence: 1 } },
        },
      ],
      entries: [
        makeEntry(deps, {
          tenantId: event.tenantId,
          type: 'credential.exchange_failed',
          actor: { kind: 'principal', id: event.principalId, ...event.origin },
          outcome: 'failure',
          reason: error.code,
          service: service ?? null,
          subject: subject ?? null,
          eventId: event._id,
        }),
      ],
    },
    signal,
  );
}

const replySchema = z.object({
  doc: z.object({ _id: z.string() }).loose(),
  isNew: z.boolean(),
  birth: z.object({ service: z.string(), subject: z.string() }).loose(),
  next: generationSchema,
});

/**
 * Commits an answer that a dead process received and did not commit. A worker that takes the event over meanwhile finds that it was
 * interrupted and gives it up; the answer is better than that, so it is written whatever the event's fence.
 */
async function recoverAction(deps: WorkerDeps, action: OpenAction): Promise<void> {
  const left = replySchema.parse(action.reply);
  for (;;) {
    const event = await findEventById(deps.database, action.id);
    if (!event || event.status === 'succeeded') return;
    const { tenantId } = event;
    const doc = left.isNew ? revive(left.doc) : await findCredential(deps.database, { tenantId, id: left.doc._id });
    if (!doc || doc.state === 'destroyed' || doc.generation !== left.next.generation - 1) return;
    const next = await placeGeneration(deps, doc, left.next);
    const { isNew, birth } = left;
    const change = activationChange(deps, { event, doc, isNew, birth: birth as Birth, next });
    const outcome = await persist(deps, change, new AbortController().signal);
    if (outcome === 'committed') return;
    if (outcome === 'duplicate') {
      deps.log.warn({ eventId: event._id }, 'an answer came too late: its credential was made by another event');
      return;
    }
  }
}

/** Dates of a drafted document come back from the journal as text. */
function revive(doc: Record<string, unknown>): CredentialDoc {
  const dates = ['createdAt', 'updatedAt'].map((field) => [field, new Date(doc[field] as string)]);
  return { ...doc, ...Object.fromEntries(dates) } as CredentialDoc;
}
