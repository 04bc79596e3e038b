import type { IncidentDoc } from '../../store/compromise/incidents.ts';
import { takeRevocation } from '../../store/compromise/revocation-budgets.ts';
import type { WorkerDeps } from '../../work/job.ts';

const KEPT_MS = 30 * 24 * 60 * 60_000;

/**
 * Whether this incident is among the first KEYTURN_MAX_REVOCATIONS_PER_ALERT of its alert (or, where a rule opened it on
 * its own, of that rule and hour). A mistaken or forged alert stops there, whatever it names; quarantines are not
 * counted, because they can be undone. Asked again, the answer is the same.
 */
export async function takesBudget(
  { database, clock, config }: Pick<WorkerDeps, 'database' | 'clock' | 'config'>,
  { _id: incidentId, tenantId, alert, findings, openedAt }: IncidentDoc,
): Promise<boolean> {
  const most = config.maxRevocationsPerAlert;
  if (most === 0) return false;
  const cause = alert?.id ?? `rule/${findings[0]?.rule}/${openedAt.toISOString().slice(0, 13)}`;
  const expiresAt = new Date(clock.now() + KEPT_MS);
  return takeRevocation(database, { tenantId, cause, incidentId }, { most, expiresAt });
}
