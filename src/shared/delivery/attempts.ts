/** The calls of one round: some at once, until the consumer seems to be down. */

import { chunk } from '../platform/concurrency/chunk.ts';
import { makeSemaphore } from '../platform/concurrency/semaphore.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import type { WorkerDeps } from '../work/job.ts';
import { messageOf } from './message.ts';
import type { Task } from './queue.ts';
import type { Settled } from './record.ts';
import { OPEN_AFTER } from './retry-schedule.ts';
import type { DeliveryOutcome, Sink, SinkPlugin, Target } from './sinks/contract.ts';

/** The consumer of one subscription, and what is needed to call it. */
export type Consumer = {
  deps: WorkerDeps;
  plugin: SinkPlugin;
  sink: Sink<unknown>;
  target: Target<unknown>;
  signal: AbortSignal;
};

/** How a round of calls went. */
export type Told = {
  /** The tasks that were tried; those whose call was interrupted are not among them. */
  settled: Settled[];
  /** Failures in a row, those of earlier rounds included. */
  failures: number;
  lastError: SubscriptionDoc['lastError'];
  /** The consumer asked to be left alone for this long. */
  pauseMs: number;
  disabled: Extract<DeliveryOutcome, { kind: 'disable' }> | null;
};

/** Makes the calls for the tasks, in their order, some at once; stops as soon as the consumer seems to be down. */
export async function tell(consumer: Consumer, sub: SubscriptionDoc, tasks: Task[]): Promise<Told> {
  const { deps, plugin, signal } = consumer;
  const told: Told = { settled: [], failures: sub.failures, lastError: sub.lastError, pauseMs: 0, disabled: null };
  let stopped = false;
  const calls = makeSemaphore(plugin.concurrency);
  const tellGroup = async (group: Task[]) => {
    if (stopped || signal.aborted) return;
    const outcome = await attempt(consumer, group);
    if (outcome.kind === 'interrupted') return;
    told.settled.push(...group.map((task) => ({ task, outcome })));
    note(told, outcome, new Date(deps.clock.now()));
    stopped ||= told.disabled !== null || told.pauseMs > 0 || told.failures >= OPEN_AFTER;
  };
  // First come, first served: what was started is always a beginning of the list.
  await Promise.all(chunk(tasks, plugin.batchSize).map((group) => calls.run(() => tellGroup(group))));
  return told;
}

function note(told: Told, outcome: Settled['outcome'], at: Date): void {
  if (outcome.kind === 'delivered') {
    told.failures = 0;
    told.lastError = null;
    return;
  }
  told.lastError = { reason: outcome.reason, status: outcome.status ?? null, at };
  if (outcome.kind === 'disable') told.disabled = outcome;
  if (outcome.kind === 'retry') {
    told.failures += 1;
    told.pauseMs = Math.max(told.pauseMs, outcome.retryAfterMs ?? 0);
  }
}

async function attempt({ deps, sink, target, signal }: Consumer, group: Task[]): Promise<DeliveryOutcome> {
  try {
    const messages = group.map(({ entry }) => messageOf(entry));
    return await sink.deliver(messages, target, signal);
  } catch (err) {
    deps.log.warn({ err, subscriptionId: target.subscriptionId }, 'a sink failed');
    return { kind: 'retry', reason: 'sink_failed' };
  }
}
