/** The compliance report of a tenant. What could take long on a large one is bounded, and said where it was cut short. */

import { latestCheckpoint } from '../audit/checkpoints.ts';
import { verifyTenant } from '../audit/verify-live.ts';
import { ID_PREFIXES } from '../platform/ids.ts';
import type { Deps } from '../runtime/deps.ts';
import type { IncidentDoc } from '../store/compromise/incidents.ts';
import {
  countCredentials,
  DAY_MS,
  listDormant,
  listOverdue,
  MAX_ROWS,
  MAX_TIME,
  type ReportScope,
} from './credentials.ts';
import type { ComplianceReport } from './schema.ts';

const INCIDENT_DAYS = 90;
const MAX_INCIDENTS = 10_000;
/** A log beyond this many entries is not walked while a caller waits. */
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
    deps.database.collection('tenants').findOne({ _id: tenantId, tenantId }),
    countCredentials(deps, scope),
    keyCoverage(deps, tenantId),
    incidentsOf(deps, scope),
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
    overdue: { count: overdue, items: overdue > 0 ? await listOverdue(deps, scope) : [] },
    dormant: { count: dormant, items: dormant > 0 ? await listDormant(deps, scope) : [] },
    keys,
    incidents,
    log,
  };
}

/** How many secrets each version of the data key seals, by the index on it. */
async function keyCoverage({ database }: ReportDeps, tenantId: string): Promise<ComplianceReport['keys']> {
  const [versions, counts] = await Promise.all([
    database.collection('data_keys').find({ tenantId, purpose: 'seal' }).sort({ version: -1 }).toArray(),
    database
      .collection('credentials')
      .aggregate<{ _id: number; count: number }>(
        [
          { $match: { tenantId, 'secret.keyVersion': { $gt: 0 } } },
          { $group: { _id: '$secret.keyVersion', count: { $sum: 1 } } },
        ],
        MAX_TIME,
      )
      .toArray(),
  ]);
  const byVersion = new Map(counts.map(({ _id, count }) => [_id, count]));
  const current = versions.find(({ state }) => state === 'active')?.version ?? null;
  const all = counts.reduce((sum, { count }) => sum + count, 0);
  const unknown = [...byVersion.keys()].filter((version) => !versions.some((key) => key.version === version));
  return {
    currentVersion: current,
    coverage: all === 0 ? 1 : (byVersion.get(current ?? 0) ?? 0) / all,
    versions: [
      ...versions.map(({ version, state, createdAt }) => ({
        version,
        state,
        createdAt: createdAt.toISOString(),
        credentials: byVersion.get(version) ?? 0,
      })),
      ...unknown.map((version) => ({
        version,
        state: 'missing',
        createdAt: null,
        credentials: byVersion.get(version) ?? 0,
      })),
    ],
  };
}

const INCIDENT_FIELDS = { severity: 1, status: 1, service: 1, detectedAt: 1, containedAt: 1 };

type Listed = Pick<IncidentDoc, '_id' | 'severity' | 'status' | 'service' | 'detectedAt' | 'containedAt'>;

/** By the index on ids, which begin with their time. */
async function incidentsOf(
  { database }: ReportDeps,
  { tenantId, now }: ReportScope,
): Promise<ComplianceReport['incidents']> {
  const since = now - INCIDENT_DAYS * DAY_MS;
  const firstId = `${ID_PREFIXES.incident}_${Math.max(0, since).toString(16).padStart(12, '0')}`;
  const docs: Listed[] = await database
    .collection('incidents')
    .find({ tenantId, _id: { $gte: firstId } }, { projection: INCIDENT_FIELDS, ...MAX_TIME })
    .sort({ _id: -1 })
    .limit(MAX_INCIDENTS)
    .toArray();
  const times = docs.map(containedIn).filter((ms) => ms !== null);
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
      containedInMs: containedIn(doc),
    })),
  };
}

function containedIn({ detectedAt, containedAt }: Listed): number | null {
  return containedAt && Math.max(0, containedAt.getTime() - detectedAt.getTime());
}

function quantiles(times: number[]): ComplianceReport['incidents']['timeToContainMs'] {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] as number;
  return sorted.length === 0 ? null : { p50: at(0.5), p90: at(0.9), most: at(1) };
}

async function checkLog(deps: ReportDeps, tenantId: string): Promise<ComplianceReport['log']> {
  const [head, latest] = await Promise.all([
    deps.database.collection('audit_heads').findOne({ _id: tenantId, tenantId }),
    latestCheckpoint(deps, tenantId),
  ]);
  const entries = head?.seq ?? 0;
  const checkpoint = latest && { seq: latest.seq, at: latest.at.toISOString(), kid: latest.kid };
  if (entries > MAX_ENTRIES) {
    const limits = [`The log has more than ${MAX_ENTRIES} entries: check it with \`keyturn audit verify\`.`];
    return { status: 'not_checked', entries, lastHash: head?.hash ?? null, findings: [], limits, checkpoint };
  }
  const report = await verifyTenant(deps, tenantId);
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
