/** The compliance report of a tenant. What could take long on a large one is bounded, and the report says where it was cut off. */

import { verifyStoredLog } from '../audit/verify-stored-log.ts';
import type { Deps } from '../runtime/deps.ts';
import { findTenant } from '../store/access/tenants.ts';
import { findLatestCheckpoint } from '../store/audit/checkpoints.ts';
import { findHead } from '../store/audit/heads.ts';
import type { ReportScope } from '../store/lifecycle/credentials-report.ts';
import { countByServiceAndAge, dormantRows, MAX_ROWS, overdueRows } from './credentials.ts';
import { incidentSummary } from './incidents.ts';
import { keyCoverage } from './key-coverage.ts';
import type { ComplianceReport } from './schema.ts';

/** A log with more entries than this is not walked while a caller waits. */
const MAX_ENTRIES = 20_000;

type ReportDeps = Pick<Deps, 'database' | 'sealer' | 'clock'>;

/** Throws `store_unavailable`, `key_unavailable`. */
export async function makeComplianceReport(
  deps: ReportDeps,
  { tenantId, dormantAfterDays }: Omit<ReportScope, 'now'>,
): Promise<ComplianceReport> {
  const now = deps.clock.now();
  const scope = { tenantId, dormantAfterDays, now };
  const [tenant, counts, keys, incidents, log] = await Promise.all([
    findTenant(deps.database, tenantId),
    countByServiceAndAge(deps, scope),
    keyCoverage(deps, tenantId),
    incidentSummary(deps, scope),
    checkLog(deps, tenantId),
  ]);
  const { services, ages } = counts;
  const total = (of: 'overdue' | 'dormant') => services.reduce((sum, service) => sum + service[of], 0);
  const [overdue, dormant] = [total('overdue'), total('dormant')];
  return {
    generatedAt: new Date(now).toISOString(),
    tenant: { id: tenantId, name: tenant?.name ?? '' },
    dormantAfterDays,
    services,
    ages,
    overdue: { count: overdue, items: overdue > 0 ? await overdueRows(deps, scope) : [] },
    dormant: { count: dormant, items: dormant > 0 ? await dormantRows(deps, scope) : [] },
    keys,
    incidents,
    log,
  };
}

async function checkLog(deps: ReportDeps, tenantId: string): Promise<ComplianceReport['log']> {
  const [head, latest] = await Promise.all([
    findHead(deps.database, tenantId),
    findLatestCheckpoint(deps.database, tenantId),
  ]);
  const entries = head?.seq ?? 0;
  const checkpoint = latest && { seq: latest.seq, at: latest.at.toISOString(), kid: latest.kid };
  if (entries > MAX_ENTRIES) {
    const limits = [`The log has more than ${MAX_ENTRIES} entries: check it with \`keyturn audit verify\`.`];
    return { status: 'not_checked', entries, lastHash: head?.hash ?? null, findings: [], limits, checkpoint };
  }
  const report = await verifyStoredLog(deps, tenantId);
  return {
    status: report.findings.length === 0 ? 'verified' : 'tampered',
    entries: report.entries,
    lastHash: report.lastHash,
    findings: report.findings
      .slice(0, MAX_ROWS)
      .map(({ kind, seq, entryId, about }) => ({ kind, seq, entryId, about })),
    limits: report.limits,
    checkpoint,
  };
}
