/**
 * The delivery loop of one subscription (promise 9): it tells what the log holds beyond the cursor, and what is due again. The
 * backlog of a consumer that is down waits in the log; only what was tried and failed has a document of its own. Each
 * subscription has a lease, a bound on its calls and a circuit breaker to itself, so a slow consumer holds up no other.
 *
 * A round: `queue.ts` reads what is next, `attempts.ts` makes the calls, `record.ts` writes down how they ended; then the
 * cursor moves on.
 */
import { Secret } from '../platform/secret.ts';
import {
  type DeliveryProgress,
  makeDueWhenBehind,
  type SubscriptionDoc,
  saveDeliveryDone,
  saveDeliveryProgress,
} from '../store/delivery/subscriptions.ts';
import { makeEntry } from '../store/entry.ts';
import type { WorkerDeps } from '../work/job.ts';
import { hold } from '../work/leases.ts';
import { type Consumer, type Told, tell } from './attempts.ts';
import { type NextTasks, nextTasks, type Task } from './queue.ts';
import { recordOutcomes, type Settled } from './record.ts';
import { coolOff, OPEN_AFTER } from './retry-schedule.ts';
import type { Sink, SinkPlugin, Target } from './sinks/contract.ts';
import { loadSink } from './sinks/load.ts';

type OpenSink = { plugin: SinkPlugin; sink: Sink<unknown> };

/** Shared by the loops of one process: its open sinks by name, and how many loops now serve a consumer that failed last. */
export type SharedState = { sinks: Map<string, OpenSink>; suspects: number };

/** Consumers that failed last time may occupy this many of the process's loops; the rest is for the healthy. */
const MAX_SUSPECTS = 128;
const SUSPECT_PAUSE_MS = 2_000;

/** Tells one subscription all that is due to it. Does nothing when it is paused, disabled, or in other hands. */
export async function runDeliveryLoop(
  deps: WorkerDeps,
  state: SharedState,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const held = await hold(deps, 'subscriptions', { ids: [id], purpose: 'deliver', where: { state: 'active' } });
  try {
    const [sub] = held.docs;
    if (sub) await serve(deps, state, sub, signal);
  } finally {
    await held.end();
    // Entries that came between the last look and the end of the lease found it busy: they are due at once.
    if (held.docs.length > 0) await makeDueWhenBehind(deps.database, { id, dueAt: new Date(deps.clock.now()) });
  }
}

async function serve(deps: WorkerDeps, state: SharedState, found: SubscriptionDoc, signal: AbortSignal): Promise<void> {
  const restsUntil = restUntil(deps, state, found);
  if (restsUntil !== null) {
    await save(deps, found, { dueAt: new Date(restsUntil) });
    return;
  }
  const isSuspect = found.failures > 0;
  if (isSuspect) state.suspects += 1;
  try {
    const open = await openSink(deps, state, found.sink, signal);
    const consumer = { deps, signal, ...open, target: await targetOf(deps, found) };
    let sub: SubscriptionDoc | null = found;
    while (sub) sub = await round(consumer, sub);
  } finally {
    if (isSuspect) state.suspects -= 1;
  }
}

/** Until when this consumer is to be left alone, milliseconds; null: it is not. */
function restUntil({ clock }: WorkerDeps, state: SharedState, sub: SubscriptionDoc): number | null {
  const now = clock.now();
  if (sub.notBefore !== null && sub.notBefore.getTime() > now) return sub.notBefore.getTime();
  return sub.failures > 0 && state.suspects >= MAX_SUSPECTS ? now + SUSPECT_PAUSE_MS : null;
}

async function openSink(deps: WorkerDeps, state: SharedState, name: string, ended: AbortSignal): Promise<OpenSink> {
  const known = state.sinks.get(name);
  if (known) return known;
  const plugin = await loadSink(name);
  // Two loops may come here at once: the sink that the first one opened is everybody's.
  const opened = state.sinks.get(name) ?? { plugin, sink: plugin.create(deps, ended) };
  state.sinks.set(name, opened);
  return opened;
}

async function targetOf({ clock, sealer }: WorkerDeps, sub: SubscriptionDoc): Promise<Target<unknown>> {
  const { _id: subscriptionId, tenantId, settings, replays } = sub;
  const now = clock.now();
  const valid = sub.secrets.filter(({ until }) => until === null || until.getTime() > now);
  const secrets = await Promise.all(
    valid.map(async ({ sealed, generation }) => {
      const context = { tenantId, objectId: subscriptionId, generation };
      return new Secret(await sealer.open(sealed.jwe as string, context));
    }),
  );
  return { tenantId, subscriptionId, settings, secrets, replays };
}

/** Tells what is next. Resolves to the subscription when there is more to do at once, else to null. */
async function round(consumer: Consumer, sub: SubscriptionDoc): Promise<SubscriptionDoc | null> {
  const { deps, plugin, signal } = consumer;
  const isDown = sub.failures >= OPEN_AFTER;
  const next = await nextTasks(deps, sub, plugin, isDown ? plugin.batchSize : undefined);
  const told = await tell(consumer, sub, next.tasks);
  await recordOutcomes(deps, sub, told.settled);
  const { failures, lastError } = told;
  const progress = { cursor: cursorAfter(next, told.settled), failures, lastError, notBefore: null };
  if (told.disabled) return disable(deps, sub, progress, told.disabled.reason);
  const pauseMs = pauseFor(deps, told, next.tasks);
  if (pauseMs > 0) {
    const notBefore = new Date(deps.clock.now() + pauseMs);
    await save(deps, sub, { ...progress, notBefore, dueAt: notBefore });
    return null;
  }
  if (signal.aborted) {
    await save(deps, sub, { ...progress, dueAt: new Date(deps.clock.now()) });
    return null;
  }
  // After a failure the next round finds when its retry is due.
  const isMore = !next.isAll || told.settled.some(({ outcome }) => outcome.kind === 'retry');
  return isMore ? save(deps, sub, progress) : rest(deps, sub, progress, next.nextRetryAt);
}

/** How long the consumer is to be left alone now, milliseconds: it is taken to be down, or asked for it. */
function pauseFor({ random }: WorkerDeps, { failures, pauseMs }: Told, tasks: Task[]): number {
  const isDown = failures >= OPEN_AFTER && (tasks.length > 0 || pauseMs > 0);
  return Math.max(isDown ? coolOff(failures, random.fraction()) : 0, pauseMs);
}

function save(deps: WorkerDeps, sub: SubscriptionDoc, progress: DeliveryProgress): Promise<SubscriptionDoc | null> {
  return saveDeliveryProgress(deps.database, sub, { progress, now: new Date(deps.clock.now()) });
}

/** Nothing is left: the next thing is a retry, or new entries. Those that were chained meanwhile are told at once. */
async function rest(
  deps: WorkerDeps,
  sub: SubscriptionDoc,
  progress: DeliveryProgress & { cursor: number },
  retryAt: Date | null,
): Promise<SubscriptionDoc | null> {
  const now = new Date(deps.clock.now());
  const after = await saveDeliveryDone(deps.database, sub, { progress, retryAt, now });
  return after?.dueAt && after.dueAt <= now ? after : null;
}

/** Up to where every entry was told or is on record as a delivery. Calls end in any order: the cursor stops before a gap. */
function cursorAfter({ tasks, end }: NextTasks, settled: Settled[]): number {
  const done = new Set(settled.map(({ task }) => task));
  const gap = tasks.find((task) => task.delivery === null && !done.has(task));
  return gap ? gap.entry.seq - 1 : end;
}

async function disable(
  deps: WorkerDeps,
  sub: SubscriptionDoc,
  progress: DeliveryProgress,
  reason: string,
): Promise<null> {
  const { _id, tenantId, fence, sink } = sub;
  await deps.commit({
    operations: [
      {
        in: 'subscriptions',
        update: { _id, tenantId, fence, state: 'active' },
        set: { $set: { ...progress, state: 'disabled' }, $unset: { dueAt: '' } },
      },
    ],
    entries: [
      makeEntry(deps, {
        tenantId,
        type: 'subscription.disabled',
        actor: { kind: 'system', id: 'deliver' },
        reason,
        detail: { subscriptionId: _id, sink },
      }),
    ],
  });
  return null;
}
