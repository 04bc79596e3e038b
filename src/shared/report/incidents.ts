/** What the report says of incidents: counts, how fast they were contained, and a short list. */
import type { Deps } from '../runtime/deps.ts';
import { listIncidentsSince, type ReportedIncident } from '../store/compromise/incidents.ts';
import type { ReportScope } from '../store/lifecycle/credentials-report.ts';
import { MAX_ROWS } from './credentials.ts';
import type { ComplianceReport } from './schema.ts';

const PERIOD_MS = 90 * 86_400_000;
const MAX_INCIDENTS = 10_000;

/** The last 90 days, up to 10 000 cases, the newest first. */
export async function incidentSummary(
  { database }: Pick<Deps, 'database'>,
  { tenantId, now }: ReportScope,
): Promise<ComplianceReport['incidents']> {
  const since = now - PERIOD_MS;
  const docs = await listIncidentsSince(database, { tenantId, since, limit: MAX_INCIDENTS });
  const times = docs.map(containedInMs).filter((ms) => ms !== null);
  const bySeverity = Map.groupBy(docs, ({ severity }) => severity);
  return {
    since: new Date(since).toISOString(),
    count: docs.length,
    open: docs.filter(({ status }) => status === 'open' || status === 'waiting').length,
    bySeverity: Object.fromEntries([...bySeverity].map(([severity, group]) => [severity, group.length])),
    timeToContainMs: quantiles(times),
    items: docs.slice(0, MAX_ROWS).map((doc) => ({
      id: doc._id,
      severity: doc.severity,
      status: doc.status,
      service: doc.service,
      detectedAt: doc.detectedAt.toISOString(),
      containedInMs: containedInMs(doc),
    })),
  };
}

function containedInMs({ detectedAt, containedAt }: ReportedIncident): number | null {
  return containedAt && Math.max(0, containedAt.getTime() - detectedAt.getTime());
}

function quantiles(times: number[]): ComplianceReport['incidents']['timeToContainMs'] {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
  return sorted.length === 0 ? null : { p50: at(0.5), p90: at(0.9), most: at(1) };
}
