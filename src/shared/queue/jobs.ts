/**
 * The catalogue of jobs: one row per queue. A job is a hint that work is due. MongoDB has the truth, so a job may be lost,
 * doubled or late. Payloads lie in Redis in the clear: ids and a reason, never a secret.
 */
import { z } from 'zod';

/** Lower is sooner (BullMQ: 1 … 2 097 152). A containment overtakes ten thousand refreshes. */
export const PRIORITY = { urgent: 1, onDemand: 10, normal: 100 } as const;

const id = z.string().min(1).max(80);
const reason = z.string().max(40);
const ids = z.array(id).max(1000);

/** Schemas of the payloads, by kind. */
export const PAYLOADS = {
  /** Events and credentials to act on; either may be left out. `service`: the only one that all of it is about. */
  work: z.strictObject({ eventIds: ids.optional(), credentialIds: ids.optional(), service: id.optional(), reason }),
  /** Events to judge, and tenants whose log has new entries; either may be left out. */
  observations: z.strictObject({ eventIds: ids.optional(), tenantIds: ids.optional(), reason }),
  /** The objects of one tenant. */
  tenant: z.strictObject({ tenantId: id, reason }),
  /** Added by others: who they are, events as JSON text, and a signature over that text. Checked as the API checks. */
  signed: z.strictObject({
    principalId: id,
    event: z.string().min(2).max(1_000_000),
    headers: z.strictObject({
      'webhook-id': z.string().min(1).max(255),
      'webhook-timestamp': z.string(),
      'webhook-signature': z.string().max(2_000),
    }),
  }),
  /** Objects by id. */
  ids: z.strictObject({ ids, reason }),
} as const;

export type PayloadKind = keyof typeof PAYLOADS;
export type Payload<K extends PayloadKind> = z.infer<(typeof PAYLOADS)[K]>;

/** `concurrency`: jobs that one worker process works on at once, in each partition. */
type JobRow = { payload: PayloadKind; concurrency: number; about: string };

export const JOBS = {
  exchange: { payload: 'work', concurrency: 8, about: 'redeems codes and imports secrets' },
  refresh: { payload: 'work', concurrency: 32, about: 'refreshes what is due, or was asked for' },
  rotate: { payload: 'work', concurrency: 4, about: 'carries rotations through their steps' },
  revoke: { payload: 'work', concurrency: 8, about: 'revokes at the provider and destroys' },
  detect: { payload: 'observations', concurrency: 4, about: 'turns observations into findings and incidents' },
  respond: { payload: 'ids', concurrency: 8, about: 'contains incidents' },
  audit: { payload: 'tenant', concurrency: 4, about: 'chains entries and publishes checkpoints' },
  reseal: { payload: 'ids', concurrency: 2, about: 'rotates keys and moves sealed values' },
  intake: { payload: 'signed', concurrency: 16, about: 'takes signed events that others put into the queue' },
  deliver: { payload: 'ids', concurrency: 512, about: 'tells subscribers' },
} as const satisfies Record<string, JobRow>;

export type JobName = keyof typeof JOBS;
export type JobPayload<N extends JobName> = Payload<(typeof JOBS)[N]['payload']>;

/** Names of all queues, for configuration and metrics. */
export const JOB_NAMES = Object.keys(JOBS) as JobName[];

/** Queues whose jobs may carry events. */
export type EventQueue = { [N in JobName]: 'eventIds' extends keyof JobPayload<N> ? N : never }[JobName];

/** How many objects one job carries at most: the driver's cost per call is shared by so many. */
export const JOB_SIZE = 50;

/**
 * Settings of every BullMQ worker (ADR 6). The job of a killed worker is taken up again after lockDuration + stalledInterval.
 * A job that stalls more often than maxStalledCount is dropped; MongoDB brings its work back even so.
 */
export const WORKER_SETTINGS = { lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: 5 } as const;

/** Jobs are hints: BullMQ keeps none and retries none. Work that failed is due again in MongoDB. */
export const JOB_OPTIONS = { attempts: 1, removeOnComplete: true, removeOnFail: true } as const;
