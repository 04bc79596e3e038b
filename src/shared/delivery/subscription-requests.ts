/** What an administrator asks of subscriptions. Each change commits with its entry (promise 6). */
import type { z } from 'zod';
import { AppError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { Deps } from '../runtime/deps.ts';
import { findHead } from '../store/audit/heads.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { SubscriptionDoc } from '../store/delivery/subscriptions.ts';
import { makeEntry } from '../store/entry.ts';
import { loadSink } from './sinks/load.ts';
import {
  changeSubscription,
  checkSettings,
  makeSecret,
  requireSubscription,
  rotatedSecrets,
} from './subscription-changes.ts';
import type { newSubscriptionSchema, secretRotationSchema, subscriptionChangesSchema } from './subscription-schema.ts';

type RequestDeps = Pick<Deps, 'database' | 'commit' | 'clock' | 'random' | 'sealer' | 'config'>;

/** Which subscription, and who asks. */
export type SubscriptionCall = { tenantId: string; id: string; actor: Entry['actor'] };

/** `shown`: a secret that we made, which nobody can show again; null when there is none, or the caller gave it. */
type WithSecret = { subscription: SubscriptionDoc; shown: string | null };

/** Subscribes a consumer to the entries from now on. Throws `invalid_request`, `key_unavailable`. */
export async function createSubscription(
  deps: RequestDeps,
  { tenantId, actor }: Omit<SubscriptionCall, 'id'>,
  { name, sink, filter, secret: given, settings: asked }: z.output<typeof newSubscriptionSchema>,
): Promise<WithSecret> {
  const plugin = await loadSink(sink);
  const settings = checkSettings(deps, plugin, asked);
  const _id = newId('subscription', deps);
  const { secret, shown } = await makeSecret(deps, plugin, { tenantId, _id, generation: 1 }, given);
  const head = await findHead(deps.database, tenantId);
  const wanted = { _id, tenantId, name, sink, settings, filter, secrets: secret ? [secret] : [] };
  const subscription = freshSubscription(wanted, head?.seq ?? 0, new Date(deps.clock.now()));
  await deps.commit({
    operations: [{ in: 'subscriptions', insert: subscription }],
    entries: [
      makeEntry(deps, { tenantId, type: 'subscription.created', actor, detail: { subscriptionId: _id, name, sink } }),
    ],
  });
  return { subscription, shown };
}

type Wanted = Pick<SubscriptionDoc, '_id' | 'tenantId' | 'name' | 'sink' | 'settings' | 'filter' | 'secrets'>;

/** It is due at once: the log may have grown since its head was read. */
function freshSubscription(wanted: Wanted, seq: number, now: Date): SubscriptionDoc {
  return {
    ...wanted,
    state: 'active',
    cursor: seq,
    wantedSeq: seq,
    dueAt: now,
    failures: 0,
    lastError: null,
    notBefore: null,
    replays: 0,
    createdAt: now,
    updatedAt: now,
    fence: 0,
    lease: null,
    interrupted: null,
  };
}

/**
 * Changes name, settings or filter for what has not been told yet; what is left out stays. Throws `not_found`, `conflict`, and
 * `invalid_request` when nothing is to be changed.
 */
export async function updateSubscription(
  deps: RequestDeps,
  { tenantId, id, actor }: SubscriptionCall,
  changes: z.output<typeof subscriptionChangesSchema>,
): Promise<SubscriptionDoc> {
  const { name, settings, filter } = changes;
  const fields = Object.keys(changes);
  if (fields.length === 0) throw new AppError('invalid_request', { detail: 'Say what is to be changed.' });
  const doc = await requireSubscription(deps, tenantId, id);
  const checked = settings && checkSettings(deps, await loadSink(doc.sink), settings);
  const set = { ...(name !== undefined && { name }), ...(checked && { settings: checked }), ...(filter && { filter }) };
  const detail = { changed: fields.join(' ') };
  return changeSubscription(deps, doc, { type: 'subscription.updated', actor, set, detail });
}

/**
 * Tells entries again from `fromSeq` on. Throws `not_found`, `conflict`, and `invalid_request` for what was never told: nothing
 * is skipped.
 */
export async function replaySubscription(
  deps: RequestDeps,
  { tenantId, id, actor }: SubscriptionCall,
  fromSeq: number,
): Promise<SubscriptionDoc> {
  const doc = await requireSubscription(deps, tenantId, id);
  if (fromSeq > doc.cursor + 1) {
    throw new AppError('invalid_request', {
      detail: `body.fromSeq: entries from ${doc.cursor + 1} on have not been told yet, and are not skipped.`,
    });
  }
  const dueAt = new Date(deps.clock.now());
  return changeSubscription(deps, doc, {
    type: 'subscription.replayed',
    actor,
    detail: { fromSeq },
    // The cursor may have moved since it was read: what was told meanwhile is told once more.
    where: { cursor: { $gte: fromSeq - 1 } },
    set: { cursor: fromSeq - 1, replays: doc.replays + 1, ...(doc.state === 'active' && { dueAt }) },
  });
}

/** Replaces the secret; the old one stays valid for a while. Throws `not_found`, `invalid_request`, `conflict`, `key_unavailable`. */
export async function rotateSubscriptionSecret(
  deps: RequestDeps,
  { tenantId, id, actor }: SubscriptionCall,
  request: z.output<typeof secretRotationSchema>,
): Promise<WithSecret> {
  const doc = await requireSubscription(deps, tenantId, id);
  const { secrets, shown } = await rotatedSecrets(deps, doc, request);
  const subscription = await changeSubscription(deps, doc, {
    type: 'subscription.secret_rotated',
    actor,
    detail: { overlapSeconds: request.overlapSeconds },
    where: { 'secrets.0.generation': doc.secrets[0]?.generation ?? { $exists: false } },
    set: { secrets },
  });
  return { subscription, shown };
}

/** Stops telling; one that is not active stays as it is. Throws `not_found`, `conflict`. */
export async function pauseSubscription(
  deps: RequestDeps,
  { tenantId, id, actor }: SubscriptionCall,
): Promise<SubscriptionDoc> {
  const doc = await requireSubscription(deps, tenantId, id);
  if (doc.state !== 'active') return doc;
  return changeSubscription(deps, doc, {
    type: 'subscription.paused',
    actor,
    where: { state: 'active' },
    set: { state: 'paused' },
    unset: { dueAt: '' },
  });
}

/** Goes on where it was paused or disabled, and tries a consumer at once that was down. Throws `not_found`, `conflict`. */
export async function resumeSubscription(
  deps: RequestDeps,
  { tenantId, id, actor }: SubscriptionCall,
): Promise<SubscriptionDoc> {
  const doc = await requireSubscription(deps, tenantId, id);
  const set = { state: 'active', failures: 0, notBefore: null, dueAt: new Date(deps.clock.now()) };
  return changeSubscription(deps, doc, { type: 'subscription.resumed', actor, set });
}
