/**
 * Chains the entries of a tenant (promise 7), wakes its subscriptions, and signs the head when that is due. One chainer at
 * a time wins; the others find nothing to do.
 */

import { toAppError } from '../platform/errors.ts';
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

/** What the head says is due: every step may be done twice, and what is not done stays due. */
async function followUp(deps: WorkerDeps, notifySubscriptions: NotifySubscriptions, tenantId: string): Promise<void> {
  const heads = deps.database.collection('audit_heads');
  const head = await heads.findOne({ _id: tenantId, tenantId });
  if (!head?.dueAt) return;
  if ((head.toldSeq ?? 0) < head.seq) await notifySubscriptions(deps, tenantId, head.seq);
  let signAt = head.unsignedSince && head.unsignedSince.getTime() + deps.config.checkpointAfterMs;
  if (signAt !== undefined && signAt <= deps.clock.now()) {
    await publishCheckpoint(deps, tenantId);
    signAt = undefined;
  }
  // When the chain has grown meanwhile, its head is due as it stands.
  await heads.updateOne(
    { _id: tenantId, tenantId, seq: head.seq },
    signAt === undefined
      ? { $set: { toldSeq: head.seq }, $unset: { dueAt: '' } }
      : { $set: { toldSeq: head.seq, dueAt: new Date(signAt) } },
  );
}
