/**
 * Rotates secrets: by policy, when the sweep finds them due, and when an event asks. One lease covers all steps that can be
 * made now; the overlap of the old and the new secret is waited for without one.
 */

import { inParallel } from '../../platform/concurrency/in-parallel.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import { type CredentialDoc, findCredentialsById, findHeldCredential } from '../../store/lifecycle/credentials.ts';
import { postponeClaimedRotations } from '../../store/lifecycle/credentials-due.ts';
import { type EventDoc, findOpenEvents } from '../../store/lifecycle/events.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { hold } from '../../work/leases.ts';
import { allows } from '../lifecycle.ts';
import { adoptMinted } from './mint.ts';
import { hurries, hurry, plan } from './plan.ts';
import { givenUp, isFulfilled, settleRequests, strictest } from './requests.ts';
import type { Rotating, StepContext } from './rotator-call.ts';
import { chooseRotator, loadRotators, namedRotator, type Rotators } from './rotators/catalogue.ts';
import { recordFailure, recordUnplanned } from './step-failure.ts';
import { afterLease } from './step-record.ts';
import { nextStep, type Step } from './steps.ts';

/** Rotations of one job that go on side by side. */
const MAX_AT_ONCE = 8;

export const createRotateJob = defineJob('rotate', (deps) => ({
  async process(payload, signal) {
    const rotators = await loadRotators();
    const events = await findOpenEvents(deps.database, payload.eventIds ?? []);
    const asked = events.map((event) => event.credentialId as string);
    const found = await findCredentialsById(deps.database, [...new Set([...(payload.credentialIds ?? []), ...asked])]);
    const wanted = found.filter((doc) => isWanted(deps, doc, strictest(doc, events)));
    const refusals = new Map<string, AppError>();
    const ids = wanted.map((doc) => doc._id);
    const held = await hold(deps, 'credentials', { ids, purpose: 'rotate', op: 'rotate', signal });
    try {
      // Should this worker die, or the one that holds a credential now, its rotation goes on when the lease ends.
      await postponeClaimedRotations(deps.database, { ids, until: afterLease(deps) });
      await inParallel(held.docs, MAX_AT_ONCE, async (doc) => {
        const task = { doc, event: strictest(doc, events), rotators, isFresh: held.isFresh, signal };
        const refusal = await rotateOne(deps, task);
        if (refusal) refusals.set(doc._id, refusal);
      });
    } finally {
      await held.end();
    }
    const named = wanted.map((doc) => doc.rotation?.eventId).filter((id) => typeof id === 'string');
    const others = named.filter((id) => !events.some((event) => event._id === id));
    await settleRequests(deps, [...events, ...(await findOpenEvents(deps.database, others))], refusals);
  },

  recover: (action) => adoptMinted(deps, action),
}));

/** Judged before the lease, so that nothing is held in vain, and again under it. */
function isWanted(deps: Pick<WorkerDeps, 'clock'>, doc: CredentialDoc, event: EventDoc | undefined): boolean {
  if (isDue(deps, doc)) return true;
  if (!event) return false;
  return doc.rotation ? doc.rotation.discard !== null || hurries(doc.rotation, event) : allows('rotate', doc.state);
}

function isDue(deps: Pick<WorkerDeps, 'clock'>, { claimed, due }: CredentialDoc): boolean {
  return claimed.rotate !== undefined || (due.rotate !== undefined && due.rotate.getTime() <= deps.clock.now());
}

type Task = Omit<StepContext, 'rotator'> & { doc: CredentialDoc; event: EventDoc | undefined; rotators: Rotators };

/** Carries one rotation as far as it goes now. Never throws; resolves to why its request is refused, if it is. */
async function rotateOne(deps: WorkerDeps, task: Task): Promise<AppError | undefined> {
  const { doc, event } = task;
  try {
    const refusal = isWanted(deps, doc, event) ? await advance(deps, task) : undefined;
    deps.journal.done(doc._id, doc.fence);
    return refusal;
  } catch (err) {
    // Under a lost lease, or without MongoDB, nothing is recorded; the journal keeps what came back.
    deps.log.warn({ err, credentialId: doc._id }, 'a step of a rotation could not be recorded');
    return undefined;
  }
}

/** Step by step, until one has to wait. A request that waited for the overlap of the rotation before gets its own. */
async function advance(deps: WorkerDeps, task: Task): Promise<AppError | undefined> {
  const { event, signal } = task;
  let { doc } = task;
  let refusal = ownRefusal(doc, event);
  while (!signal.aborted) {
    if (!doc.rotation) {
      if (refusal || !(isDue(deps, doc) || (event && !isFulfilled(doc, event)))) return refusal;
      const begun = await begin(deps, { ...task, doc });
      if (begun instanceof AppError) return begun;
      doc = begun;
    }
    if (event && !isFulfilled(doc, event)) doc = await hurry(deps, doc as Rotating, event, signal);
    const step = nextStep(doc, deps.clock.now());
    if (!step) return refusal;
    const after = await attempt(deps, { ...task, doc: doc as Rotating }, step);
    doc = after.doc;
    refusal ??= after.refusal;
    if (!after.goesOn) return refusal;
  }
  return refusal;
}

/** A request whose own rotation was given up before the process died does not start another. */
function ownRefusal({ rotation }: CredentialDoc, event: EventDoc | undefined): AppError | undefined {
  const isOwn = rotation?.discard?.next === 'give_up' && rotation.eventId === event?._id;
  return isOwn ? givenUp(rotation.discard!.code) : undefined;
}

async function begin(deps: WorkerDeps, { doc, event, rotators, signal }: Task): Promise<CredentialDoc | AppError> {
  try {
    if (!allows('rotate', doc.state)) throw new AppError('transition_refused');
    if (!doc.secret) throw new AppError('credential_pending');
    return await plan(deps, doc, { rotator: chooseRotator(rotators, doc), event, signal });
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.retry !== 'never' && error.code !== 'credential_pending') throw error;
    if (isDue(deps, doc)) await recordUnplanned(deps, doc, error, signal);
    return error;
  }
}

type Attempt = { doc: CredentialDoc; goesOn: boolean; refusal?: AppError };

async function attempt(deps: WorkerDeps, task: Task & { doc: Rotating }, step: Step): Promise<Attempt> {
  const { doc, rotators, isFresh, signal } = task;
  try {
    const rotator = namedRotator(rotators, doc.rotation.rotator);
    return { doc: await step(deps, doc, { rotator, isFresh, signal }), goesOn: true };
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'interrupted') return { doc: await asChanged(deps, doc, error), goesOn: true };
    const after = await recordFailure(deps, doc, error, signal);
    const ended = after.goesOn && after.doc.rotation?.discard?.next !== 'mint' && !doc.rotation.discard;
    return ended ? { ...after, refusal: givenUp(error.code) } : after;
  }
}

/** The credential when only its state has changed, by a quarantine or its end: the step is judged anew. Else throws `error`. */
async function asChanged(deps: WorkerDeps, doc: CredentialDoc, error: AppError): Promise<CredentialDoc> {
  const now = await findHeldCredential(deps.database, doc);
  if (!now || now.state === doc.state) throw error;
  return now;
}
