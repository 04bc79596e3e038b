/** What the report says of credentials: counts by service and by age, and two short lists. */
import type { Deps } from '../runtime/deps.ts';
import {
  type CredentialCount,
  countCredentials,
  type ListedCredential,
  listDormantCredentials,
  listOverdueCredentials,
  type ReportScope,
} from '../store/lifecycle/credentials-report.ts';
import type { ComplianceReport } from './schema.ts';

type ReportDeps = Pick<Deps, 'database'>;

const DAY_MS = 86_400_000;

/** Rows of a list; a list that is cut off says so by its count. */
export const MAX_ROWS = 50;

/** Where one age ends and the next begins, in days. */
const AGE_BOUNDS = [0, 30, 90, 180, 365];

/** Counts by service, in the order of their names, and by age. */
export async function countByServiceAndAge(
  { database }: ReportDeps,
  scope: ReportScope,
): Promise<Pick<ComplianceReport, 'services' | 'ages'>> {
  const rows = await countCredentials(database, scope, AGE_BOUNDS);
  const byService = Map.groupBy(rows, ({ service }) => service);
  const services = [...byService].map(([service, group]) => serviceRow(service, group, scope.now));
  const ages = AGE_BOUNDS.map((fromDays, index) => ({
    fromDays,
    toDays: AGE_BOUNDS[index + 1] ?? null,
    credentials: sum(rows, (row) => row.ages[index]!),
  }));
  return { services: services.toSorted((a, b) => a.service.localeCompare(b.service)), ages };
}

function serviceRow(service: string, group: CredentialCount[], now: number): ComplianceReport['services'][number] {
  const oldest = group.find(({ state }) => state === 'active')?.oldest;
  return {
    service,
    states: Object.fromEntries(group.map(({ state, count }) => [state, count])),
    withPolicy: sum(group, (row) => row.withPolicy),
    overdue: sum(group, (row) => row.overdue),
    dormant: sum(group, (row) => row.dormant),
    oldestDays: oldest ? inDays(now - oldest.getTime()) : null,
  };
}

/** The credentials whose rotation is overdue, the oldest secret first. */
export async function overdueRows(
  { database }: ReportDeps,
  scope: ReportScope,
): Promise<ComplianceReport['overdue']['items']> {
  const docs = await listOverdueCredentials(database, scope, MAX_ROWS);
  return docs.map((doc) => ({
    ...rowOf(doc),
    ageDays: inDays(scope.now - (doc.secretChangedAt?.getTime() ?? scope.now)),
    policyDays: inDays(doc.policy.rotateEveryMs ?? 0),
    step: doc.rotation?.step ?? null,
  }));
}

/** The credentials that nobody asks for, the oldest first. */
export async function dormantRows(
  { database }: ReportDeps,
  scope: ReportScope,
): Promise<ComplianceReport['dormant']['items']> {
  const docs = await listDormantCredentials(database, scope, MAX_ROWS);
  return docs.map((doc) => ({ ...rowOf(doc), lastReleasedAt: doc.lastReleasedAt?.toISOString() ?? null }));
}

function rowOf({ _id, service, subject }: ListedCredential) {
  return { credentialId: _id, service, subject };
}

function sum<T>(items: T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** To a tenth. */
function inDays(ms: number): number {
  return Math.round((ms / DAY_MS) * 10) / 10;
}
