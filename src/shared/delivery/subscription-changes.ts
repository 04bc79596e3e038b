/** Acts on a subscription, each one change with its entry. */
import type { Document } from 'mongodb';
import { AppError } from '../platform/errors.ts';
import { Secret } from '../platform/secret.ts';
import { newWebhookSecret } from '../platform/standard-webhooks.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { deleteDeliveries } from '../store/delivery/deliveries.ts';
import {
  findSubscription,
  removeSubscription,
  type SubscriptionDoc,
  type SubscriptionSecret,
} from '../store/delivery/subscriptions.ts';
import { makeEntry } from '../store/entry.ts';
import type { SinkPlugin } from './sinks/contract.ts';
import { loadSink } from './sinks/load.ts';

type ChangeDeps = Pick<Deps, 'database' | 'commit' | 'clock' | 'random' | 'sealer' | 'config'>;

/** The tenant's subscription of that id. Throws `not_found`. */
export async function requireSubscription(
  deps: Pick<Deps, 'database'>,
  tenantId: string,
  id: string,
): Promise<SubscriptionDoc> {
  const doc = await findSubscription(deps.database, { tenantId, id });
  if (!doc) throw new AppError('not_found');
  return doc;
}

/** Settings as the sink takes them. Throws `invalid_request`, naming the field and the rule. */
export function checkSettings(deps: Pick<Deps, 'config'>, plugin: SinkPlugin, settings: unknown) {
  const checked = plugin.settings(deps.config).safeParse(settings);
  if (checked.success) return checked.data as Record<string, unknown>;
  const [issue] = checked.error.issues;
  const path = ['body', 'settings', ...(issue?.path ?? [])].join('.');
  throw new AppError('invalid_request', { detail: `${path}: ${issue?.message}` });
}

/** The next secret of a subscription, sealed; and in plain when we made it, to be shown once. */
export async function makeSecret(
  deps: Pick<Deps, 'sealer' | 'random'>,
  plugin: SinkPlugin,
  owner: { tenantId: string; _id: string; generation: number },
  given: string | undefined,
): Promise<{ secret: SubscriptionSecret | null; shown: string | null }> {
  if (given !== undefined && plugin.secret !== 'given') {
    throw new AppError('invalid_request', { detail: `body.secret: the sink ${plugin.name} takes none.` });
  }
  const made = plugin.secret === 'generated' ? newWebhookSecret(deps.random) : undefined;
  const secret = made ?? (given === undefined ? undefined : new Secret(given));
  if (!secret) return { secret: null, shown: null };
  const { tenantId, _id: objectId, generation } = owner;
  const sealed = await deps.sealer.seal(secret.reveal(), { tenantId, objectId, generation });
  return {
    secret: { sealed: { store: 'mongodb', ...sealed }, generation, until: null },
    shown: made?.reveal() ?? null,
  };
}

/** The secrets after a rotation: the new one, and of the old ones only the last, until its time has come. */
export async function rotatedSecrets(
  deps: ChangeDeps,
  doc: SubscriptionDoc,
  request: { overlapSeconds: number; secret?: string | undefined },
) {
  const plugin = await loadSink(doc.sink);
  const [old] = doc.secrets;
  const generation = (old?.generation ?? 0) + 1;
  const { secret, shown } = await makeSecret(deps, plugin, { ...doc, generation }, request.secret);
  if (!secret) throw new AppError('invalid_request', { detail: `The sink ${doc.sink} has no secret to replace.` });
  const until = new Date(deps.clock.now() + request.overlapSeconds * 1_000);
  return { secrets: [secret, ...(old ? [{ ...old, until }] : [])], shown };
}

export type SubscriptionChange = {
  /** Of the entry: `subscription.<what>`. */
  type: string;
  actor: Entry['actor'];
  set: Document;
  unset?: Document;
  detail?: Entry['detail'];
  /** A condition that must still hold. */
  where?: Document;
};

/** Commits a change and resolves to the subscription after it. Throws `conflict` when it changed meanwhile. */
export async function changeSubscription(
  deps: ChangeDeps,
  { _id, tenantId, name }: Pick<SubscriptionDoc, '_id' | 'tenantId' | 'name'>,
  change: SubscriptionChange,
): Promise<SubscriptionDoc> {
  const set = { ...change.set, updatedAt: new Date(deps.clock.now()) };
  const outcome = await deps.commit({
    operations: [
      {
        in: 'subscriptions',
        update: { _id, tenantId, ...change.where },
        set: { $set: set, ...(change.unset && { $unset: change.unset }) },
      },
    ],
    entries: [
      makeEntry(deps, {
        tenantId,
        type: change.type,
        actor: change.actor,
        detail: { subscriptionId: _id, name, ...change.detail },
      }),
    ],
  });
  if (outcome !== 'committed') throw new AppError('conflict');
  return requireSubscription(deps, tenantId, _id);
}

/** Deletes a subscription with its deliveries. Its entries on the log stay. */
export async function deleteSubscription(deps: ChangeDeps, doc: SubscriptionDoc, actor: Entry['actor']): Promise<void> {
  // First the record is made, and no delivery may begin any more; then what nobody finds any more is removed.
  await changeSubscription(deps, doc, {
    type: 'subscription.deleted',
    actor,
    set: { state: 'paused', secrets: [] },
    unset: { dueAt: '' },
  });
  const { _id, tenantId } = doc;
  await removeSubscription(deps.database, { tenantId, id: _id });
  await deleteDeliveries(deps.database, { tenantId, subscriptionId: _id });
}
