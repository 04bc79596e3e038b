/**
 * The lane of one subscription (promise 9): it tells what the log holds beyond the cursor, and what is due again. The
 * backlog of a consumer that is down waits in the log; only what was tried and failed has a document of its own. A lane
 * has a lease, a bound on its calls and a circuit breaker to itself, so a slow consumer takes nobody else's place.
 */
import type { Document } from 'mongodb';
import { makeSemaphore } from '../platform/concurrency/semaphore.ts';
import { Secret } from '../platform/secret.ts';
import { chunk } from '../queue/hints.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import { makeEntry } from '../store/entry.ts';
import type { WorkerDeps } from '../work/job.ts';
import { hold } from '../work/leases.ts';
import { nextWork, type Task, type Work } from './delivery-queue.ts';
import { recordDeliveries, type Settled, saveSubscription } from './delivery-record.ts';
import { coolOff, OPEN_AFTER } from './retry-schedule.ts';
import {
  type DeliveryOutcome,
  loadSink,
  messageOf,
  type Sink,
  type SinkPlugin,
  type Target,
} from './sinks/contract.ts';

/** What the lanes of one process share. */
export type DeliveryState = { sinks: Map<string, { plugin: SinkPlugin; sink: Sink<unknown> }>; suspects: number };

/** Lanes of consumers that failed last time may take so many of the process's places; the rest is for the healthy. */
const MAX_SUSPECTS = 128;
const SUSPECT_PAUSE_MS = 2_000;

type Lane = {
  deps: WorkerDeps;
  plugin: SinkPlugin;
  sink: Sink<unknown>;
  target: Target<unknown>;
  signal: AbortSignal;
};

/** Tells one subscription all that is due to it. Does nothing when it is paused, disabled, or in other hands. */
export async function runDelivery(
  deps: WorkerDeps,
  state: DeliveryState,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const held = await hold(deps, 'subscriptions', { ids: [id], purpose: 'deliver', where: { state: 'active' } });
  let isSuspect = false;
  try {
    const found = held.docs[0];
    if (!found) return;
    const restsUntil = restUntil(deps, state, found);
    if (restsUntil !== null) {
      await saveSubscription(deps, found, { dueAt: new Date(restsUntil) });
      return;
    }
    let sub: SubscriptionDoc | null = found;
    isSuspect = sub.failures > 0;
    if (isSuspect) state.suspects += 1;
    const delivery = { deps, signal, ...(await openSink(deps, state, sub, signal)), target: await targetOf(deps, sub) };
    while (sub) sub = await round(delivery, sub);
  } finally {
    if (isSuspect) state.suspects -= 1;
    await held.end();
    if (held.docs.length > 0) await noticeWakeUp(deps, id);
  }
}

/** A wake-up between the lane's last look and the end of its lease found it busy: what it was about is due at once. */
async function noticeWakeUp(deps: WorkerDeps, id: string): Promise<void> {
  const missed = { state: 'active' as const, notBefore: null, lease: null, $expr: { $gt: ['$wantedSeq', '$cursor'] } };
  const dueAt = new Date(deps.clock.now());
  await deps.database.collection('subscriptions').updateOne({ _id: id, ...missed }, { $set: { dueAt } });
}

/** Until when this consumer is to be left alone, milliseconds; null: it is not. */
function restUntil(deps: WorkerDeps, state: DeliveryState, sub: SubscriptionDoc): number | null {
  const now = deps.clock.now();
  if (sub.notBefore !== null && sub.notBefore.getTime() > now) return sub.notBefore.getTime();
  return sub.failures > 0 && state.suspects >= MAX_SUSPECTS ? now + SUSPECT_PAUSE_MS : null;
}

async function openSink(deps: WorkerDeps, state: DeliveryState, { sink: name }: SubscriptionDoc, ended: AbortSignal) {
  const known = state.sinks.get(name);
  if (known) return known;
  const plugin = await loadSink(name);
  // Two lanes may come here at once: the first one's sink is everybody's.
  const opened = state.sinks.get(name) ?? { plugin, sink: plugin.create(deps, ended) };
  state.sinks.set(name, opened);
  return opened;
}

async function targetOf(deps: WorkerDeps, sub: SubscriptionDoc): Promise<Target<unknown>> {
  const { _id: subscriptionId, tenantId, settings, replays } = sub;
  const now = deps.clock.now();
  const valid = sub.secrets.filter(({ until }) => until === null || until.getTime() > now);
  const secrets = await Promise.all(
    valid.map(async ({ sealed, generation }) => {
      const context = { tenantId, objectId: subscriptionId, generation };
      return new Secret(await deps.sealer.open(sealed.jwe as string, context));
    }),
  );
  return { tenantId, subscriptionId, settings, secrets, replays };
}

/** One window of the log. Resolves to the subscription when there is more to do at once, else to null. */
async function round(lane: Lane, sub: SubscriptionDoc): Promise<SubscriptionDoc | null> {
  const { deps, plugin } = lane;
  const isDown = sub.failures >= OPEN_AFTER;
  const work = await nextWork(deps, sub, plugin, isDown ? plugin.batchSize : undefined);
  const result = await tell(lane, sub, work.tasks);
  await recordDeliveries(deps, sub, result.settled);
  const { failures, lastError, disabled } = result;
  const progress = { cursor: cursorAfter(work, result.settled), failures, lastError: { $literal: lastError } };
  if (disabled) return disable(deps, sub, { ...progress, lastError }, disabled.reason);
  const now = deps.clock.now();
  if ((failures >= OPEN_AFTER && work.tasks.length > 0) || result.pauseMs > 0) {
    const cooling = failures >= OPEN_AFTER ? coolOff(failures, deps.random.fraction()) : 0;
    const notBefore = new Date(now + Math.max(cooling, result.pauseMs));
    await saveSubscription(deps, sub, { ...progress, notBefore, dueAt: notBefore });
    return null;
  }
  if (lane.signal.aborted) {
    await saveSubscription(deps, sub, { ...progress, notBefore: null, dueAt: new Date(now) });
    return null;
  }
  // After a failure the next round finds when its retry is due.
  const isMore = !work.isAll || result.settled.some(({ verdict }) => verdict.kind === 'retry');
  if (isMore) return saveSubscription(deps, sub, { ...progress, notBefore: null });
  return rest(lane, sub, { ...progress, notBefore: null }, work.nextRetryAt);
}

/** Nothing is left: the next thing is a retry, or to be woken. What was chained meanwhile is told at once. */
async function rest(
  { deps }: Lane,
  sub: SubscriptionDoc,
  progress: Document & { cursor: number },
  retryAt: Date | null,
): Promise<SubscriptionDoc | null> {
  const now = new Date(deps.clock.now());
  const dueAt = { $cond: [{ $gt: ['$wantedSeq', progress.cursor] }, now, retryAt ?? '$$REMOVE'] };
  const after = await saveSubscription(deps, sub, { ...progress, dueAt });
  return after?.dueAt && after.dueAt <= now ? after : null;
}

type Told = {
  settled: Settled[];
  failures: number;
  lastError: SubscriptionDoc['lastError'];
  /** The consumer asked to be left alone for so long. */
  pauseMs: number;
  disabled: Extract<DeliveryOutcome, { kind: 'disable' }> | null;
};

/** Makes the calls for the tasks, in their order, some at once; stops as soon as the consumer seems to be down. */
async function tell(lane: Lane, sub: SubscriptionDoc, tasks: Task[]): Promise<Told> {
  const { deps, plugin, signal } = lane;
  const told: Told = { settled: [], failures: sub.failures, lastError: sub.lastError, pauseMs: 0, disabled: null };
  let stopped = false;
  const places = makeSemaphore(plugin.concurrency);
  const tellGroup = async (group: Task[]) => {
    if (stopped || signal.aborted) return;
    const verdict = await attempt(lane, group);
    if (verdict.kind === 'interrupted') return;
    told.settled.push(...group.map((task) => ({ task, verdict })));
    if (verdict.kind === 'delivered') {
      told.failures = 0;
      told.lastError = null;
      return;
    }
    told.lastError = { reason: verdict.reason, status: verdict.status ?? null, at: new Date(deps.clock.now()) };
    if (verdict.kind === 'disable') told.disabled = verdict;
    if (verdict.kind === 'retry') {
      told.failures += 1;
      told.pauseMs = Math.max(told.pauseMs, verdict.retryAfterMs ?? 0);
    }
    stopped ||= told.disabled !== null || told.pauseMs > 0 || told.failures >= OPEN_AFTER;
  };
  // First come, first served: what was started is always a beginning of the list.
  await Promise.all(chunk(tasks, plugin.batchSize).map((group) => places.take(() => tellGroup(group))));
  return told;
}

async function attempt({ deps, sink, target, signal }: Lane, group: Task[]): Promise<DeliveryOutcome> {
  try {
    return await sink.deliver(
      group.map(({ entry }) => messageOf(entry)),
      target,
      signal,
    );
  } catch (err) {
    deps.log.warn({ err, subscriptionId: target.subscriptionId }, 'a sink failed');
    return { kind: 'retry', reason: 'sink_failed' };
  }
}

/** Up to where every entry was told or is on record as a delivery. Calls end in any order: what is beyond a gap waits. */
function cursorAfter(work: Work, settled: Settled[]): number {
  const done = new Set(settled.map(({ task }) => task));
  const gap = work.tasks.find((task) => task.delivery === null && !done.has(task));
  return gap ? gap.entry.seq - 1 : work.end;
}

async function disable(
  deps: WorkerDeps,
  sub: SubscriptionDoc,
  fields: Partial<SubscriptionDoc>,
  reason: string,
): Promise<null> {
  const { _id, tenantId, fence, sink } = sub;
  await deps.commit({
    operations: [
      {
        in: 'subscriptions',
        update: { _id, tenantId, fence, state: 'active' },
        set: { $set: { ...fields, state: 'disabled', notBefore: null }, $unset: { dueAt: '' } },
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
