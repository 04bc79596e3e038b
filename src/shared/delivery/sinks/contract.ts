/**
 * A sink is a way to tell a subscriber. Each file in `plugins/` exports one as `plugin`; it is found by being there.
 * The API checks a subscription's settings by it, and the workers deliver through it.
 */
import type { z } from 'zod';
import type { entrySchema } from '../../audit/entry-view.ts';
import type { Secret } from '../../platform/secret.ts';
import type { Deps } from '../../runtime/deps.ts';

/** A subscriber is told this of one entry. The same entry always makes the same message. It holds no secret. */
export type Message = {
  /** The entry's id: the same at every attempt, so that the consumer can tell a repetition. */
  id: string;
  type: string;
  /** When it happened, ISO 8601. */
  timestamp: string;
  data: z.infer<typeof entrySchema>;
};

/** Whom to tell. */
export type Target<S> = {
  tenantId: string;
  subscriptionId: string;
  settings: S;
  /** Those that are valid now, newest first: two while one is being replaced. Empty where the sink has none. */
  secrets: Secret[];
  /** How often the subscriber asked for a replay: for sinks that drop messages which they have told already. */
  replays: number;
};

/** How an attempt ended. `reason` is a stable word of ours or a system error code, never a text of the consumer. */
export type DeliveryOutcome =
  | { kind: 'delivered' }
  /** Again later, by the schedule; not before `retryAfterMs` where the consumer said so. */
  | { kind: 'retry'; reason: string; status?: number; retryAfterMs?: number }
  /** This message will never be taken: it is parked. */
  | { kind: 'refuse'; reason: string; status?: number }
  /** The consumer wants no more: the subscription is disabled until a person resumes it. */
  | { kind: 'disable'; reason: string; status?: number }
  /** `signal` aborted; nothing is known. */
  | { kind: 'interrupted' };

export type Sink<S> = {
  /**
   * Tells up to `batchSize` messages, in the order of the log; one outcome for all of them. It ends within
   * `KEYTURN_CALL_TIMEOUT_SECONDS`, or soon after `signal` aborts, and never throws for what the consumer does. What it
   * reports as delivered is durable on the other side. It may be called twice with the same message.
   */
  deliver(messages: Message[], target: Target<S>, signal: AbortSignal): Promise<DeliveryOutcome>;
};

export type SinkDeps = Pick<Deps, 'config' | 'clock' | 'random' | 'log' | 'database' | 'sealer' | 'commit'>;

/** A sink as a file in `plugins/` exports it. */
export type SinkPlugin<S = unknown> = {
  /** File name without its ending. */
  readonly name: string;
  /** One sentence, shown by the API. */
  readonly about: string;
  /** Checks a subscription's settings. Strict: an unknown setting is refused. Never takes a secret. */
  settings(config: Deps['config']): z.ZodType<S>;
  /** `generated`: we make it and show it once. `given`: the subscriber may give one. `none`: there is none. */
  readonly secret: 'generated' | 'given' | 'none';
  /** Messages of one call at most. */
  readonly batchSize: number;
  /** Calls of one subscription at once at most. */
  readonly concurrency: number;
  /** Entry types that it can tell, with `*` for any characters; all when left out. */
  readonly takes?: readonly string[];
  /** Opens the sink for one process; it closes its connections when `ended` aborts. Does no I/O itself. */
  create(deps: SinkDeps, ended: AbortSignal): Sink<S>;
};

/** Types a sink without losing the type of its settings. */
export function defineSink<S>(plugin: SinkPlugin<S>): SinkPlugin<S> {
  return plugin;
}
