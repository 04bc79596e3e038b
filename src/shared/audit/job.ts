/**
 * Chains the entries of a tenant (promise 7), notifies its subscriptions, and signs the head when that is due. One chainer at
 * a time wins; the others find nothing to do.
 */

import { toAppError } from '../platform/errors.ts';
import { type ChainHead, findHead, settleHead } from '../store/audit/heads.ts';
import { defineJob, type WorkerDeps } from '../work/job.ts';
import { chainEntries } from './chain.ts';
import { publishCheckpoint } from './checkpoints.ts';

/** Entries that one job chains before other tenants have their turn. */
const SHARE = 5_000;

/** Tells the subscriptions of a tenant that there are entries up to `seq`. Given from above: the log knows no subscribers. */
export type NotifySubscriptions = (deps: WorkerDeps, tenantId: string, seq: number) => Promise<void>;

export const createAuditJob = (notifySubscriptions: NotifySubscriptions) =>
  defineJob('audit', (deps) => ({
    async process({ tenantId }) {
      const moved = await chainEntries(deps, tenantId, SHARE);
      await followUp(deps, notifySubscriptions, tenantId);
      // Behind the tenants that wait already. Without Redis the sweep finds the rest.
      if (moved >= SHARE) await deps.hints.add('audit', [{ payload: { tenantId, reason: 'more' } }]).catch(toAppError);
    },
  }));

/** Does what the head says is due. Every step may be done twice; a step that was not done stays due. */
async function followUp(deps: WorkerDeps, notifySubscriptions: NotifySubscriptions, tenantId: string): Promise<void> {
  const head = await findHead(deps.database, tenantId);
  if (!head?.dueAt) return;
  if ((head.toldSeq ?? 0) < head.seq) await notifySubscriptions(deps, tenantId, head.seq);
  const dueAt = await signWhenDue(deps, head);
  await settleHead(deps.database, { tenantId, seq: head.seq, dueAt });
}

/** Signs a head that has been unsigned for long enough. Resolves to when it is to be signed; null: there is nothing to sign. */
async function signWhenDue(deps: WorkerDeps, { tenantId, unsignedSince }: ChainHead): Promise<Date | null> {
  if (!unsignedSince) return null;
  const signAt = unsignedSince.getTime() + deps.config.checkpointAfterMs;
  if (signAt > deps.clock.now()) return new Date(signAt);
  await publishCheckpoint(deps, tenantId);
  return null;
}
