import type { IncidentDoc } from '../../store/compromise/incidents.ts';
import type { WorkerDeps } from '../../work/job.ts';

const KEPT_MS = 30 * 24 * 60 * 60_000;

/**
 * Whether this incident is among the first KEYTURN_MAX_REVOCATIONS_PER_ALERT of its alert (or, where a rule opened it on
 * its own, of that rule and hour). A mistaken or forged alert stops there, whatever it names; quarantines are not
 * counted, because they can be undone. Asked again, the answer is the same.
 */
export async function takesBudget(
  deps: Pick<WorkerDeps, 'database' | 'clock' | 'config'>,
  incident: IncidentDoc,
): Promise<boolean> {
  const most = deps.config.maxRevocationsPerAlert;
  const { tenantId, alert, findings, openedAt } = incident;
  const cause = alert?.id ?? `rule/${findings[0]?.rule}/${openedAt.toISOString().slice(0, 13)}`;
  const _id = `${tenantId}/${cause}`;
  const budgets = deps.database.collection('revocation_budgets');
  if (most === 0) return false;
  const fresh = { tenantId, incidentIds: [], expiresAt: new Date(deps.clock.now() + KEPT_MS) };
  await budgets.updateOne({ _id }, { $setOnInsert: fresh }, { upsert: true });
  const isNotFull = { [`incidentIds.${most - 1}`]: { $exists: false } };
  const taken = await budgets.updateOne({ _id, tenantId, ...isNotFull }, { $addToSet: { incidentIds: incident._id } });
  return taken.matchedCount === 1 || (await budgets.countDocuments({ _id, tenantId, incidentIds: incident._id })) === 1;
}
