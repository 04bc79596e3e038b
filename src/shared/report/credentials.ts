/** What the report says of credentials: one pass over the tenant's for the counts, and two short lists. */
import type { Document } from 'mongodb';
import type { Deps } from '../runtime/deps.ts';
import type { CredentialDoc, CredentialState } from '../store/lifecycle/credentials.ts';
import type { ComplianceReport } from './schema.ts';

export const DAY_MS = 86_400_000;
export const MAX_ROWS = 50;
export const MAX_TIME = { maxTimeMS: 20_000 } as const;

/** A rotation that came due so recently is under way, not overdue. */
const GRACE_MS = 3_600_000;

/** Where one age ends and the next begins, in days. */
const AGE_BOUNDS = [0, 30, 90, 180, 365];

export type ReportScope = { tenantId: string; now: number; dormantAfterDays: number };

type Counted = {
  _id: { service: string; state: CredentialState };
  count: number;
  withPolicy: number;
  overdue: number;
  dormant: number;
  oldest: Date | null;
} & Record<`age${number}`, number>;

/** Counts by service, and by age. */
export async function countCredentials(deps: Pick<Deps, 'database'>, scope: ReportScope) {
  const rows = await deps.database
    .collection('credentials')
    .aggregate<Counted>([{ $match: { tenantId: scope.tenantId } }, { $group: groupOf(scope) }], MAX_TIME)
    .toArray();
  const byService = Map.groupBy(rows, ({ _id }) => _id.service);
  const services = [...byService].map(([service, group]) => serviceRow(service, group, scope.now));
  const ages = AGE_BOUNDS.map((fromDays, index) => ({
    fromDays,
    toDays: AGE_BOUNDS[index + 1] ?? null,
    credentials: sum(rows, (row) => row[`age${index}`] ?? 0),
  }));
  return { services: services.toSorted((a, b) => a.service.localeCompare(b.service)), ages };
}

const isActive = { $eq: ['$state', 'active'] };
const hasPolicy = { $gt: ['$policy.rotateEveryMs', 0] };

function groupOf({ now, dormantAfterDays }: ReportScope): Document {
  const countIf = (...conditions: Document[]) => ({ $sum: { $cond: [{ $and: [isActive, ...conditions] }, 1, 0] } });
  const olderThan = (ageDays: number) => ({ $lte: ['$secretChangedAt', new Date(now - ageDays * DAY_MS)] });
  const ages = AGE_BOUNDS.map((fromDays, index) => {
    const next = AGE_BOUNDS[index + 1];
    const isYounger = next === undefined ? [] : [{ $not: [olderThan(next)] }];
    return [`age${index}`, countIf(...(index === 0 ? [] : [olderThan(fromDays)]), ...isYounger)];
  });
  return {
    _id: { service: '$service', state: '$state' },
    count: { $sum: 1 },
    withPolicy: countIf(hasPolicy),
    overdue: countIf(isOverdue(now)),
    dormant: countIf(isDormant(now, dormantAfterDays)),
    oldest: { $min: { $cond: [isActive, '$secretChangedAt', null] } },
    ...Object.fromEntries(ages),
  };
}

function isOverdue(now: number): Document {
  const dueAt = { $add: ['$secretChangedAt', '$policy.rotateEveryMs'] };
  return { $and: [hasPolicy, { $lt: [dueAt, new Date(now - GRACE_MS)] }] };
}

/** Not released for so long; never released counts from when it was made. */
function isDormant(now: number, afterDays: number): Document {
  return { $lt: [{ $ifNull: ['$lastReleasedAt', '$createdAt'] }, new Date(now - afterDays * DAY_MS)] };
}

function serviceRow(service: string, group: Counted[], now: number): ComplianceReport['services'][number] {
  const oldest = group.find(({ _id }) => _id.state === 'active')?.oldest;
  return {
    service,
    states: Object.fromEntries(group.map(({ _id, count }) => [_id.state, count])),
    withPolicy: sum(group, (row) => row.withPolicy),
    overdue: sum(group, (row) => row.overdue),
    dormant: sum(group, (row) => row.dormant),
    oldestDays: oldest ? inDays(now - oldest.getTime()) : null,
  };
}

/** The credentials whose rotation is overdue, the oldest secret first. */
export async function listOverdue(deps: Pick<Deps, 'database'>, { tenantId, now }: ReportScope) {
  const where = { tenantId, state: 'active', 'policy.rotateEveryMs': { $gt: 0 }, $expr: isOverdue(now) };
  const docs = await list(deps, where, 'secretChangedAt');
  return docs.map((doc) => ({
    ...rowOf(doc),
    ageDays: inDays(now - (doc.secretChangedAt?.getTime() ?? now)),
    policyDays: inDays(doc.policy.rotateEveryMs ?? 0),
    step: doc.rotation?.step ?? null,
  }));
}

/** The credentials that nobody asks for, the oldest first. */
export async function listDormant(deps: Pick<Deps, 'database'>, { tenantId, now, dormantAfterDays }: ReportScope) {
  const where = { tenantId, state: 'active', $expr: isDormant(now, dormantAfterDays) };
  const docs = await list(deps, where, 'createdAt');
  return docs.map((doc) => ({ ...rowOf(doc), lastReleasedAt: doc.lastReleasedAt?.toISOString() ?? null }));
}

const LIST_FIELDS = { service: 1, subject: 1, secretChangedAt: 1, lastReleasedAt: 1, policy: 1, 'rotation.step': 1 };

function list({ database }: Pick<Deps, 'database'>, where: Document, sort: string): Promise<CredentialDoc[]> {
  const found = database.collection('credentials').find(where, { projection: LIST_FIELDS, ...MAX_TIME });
  return found
    .sort({ [sort]: 1, _id: 1 })
    .limit(MAX_ROWS)
    .toArray();
}

function rowOf({ _id, service, subject }: CredentialDoc) {
  return { credentialId: _id, service, subject };
}

function sum<T>(items: T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function inDays(ms: number): number {
  return Math.round((ms / DAY_MS) * 10) / 10;
}
