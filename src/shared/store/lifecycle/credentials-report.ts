/** `credentials`: what the compliance report counts and lists. Each query is bounded: a tenant may have millions. */
import type { Document } from 'mongodb';
import { BOUNDED, type HasDb } from '../base/collection.ts';
import type { CredentialDoc, CredentialState } from './credentials.ts';

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

const DAY_MS = 86_400_000;

/** A rotation that came due less than an hour ago is under way, not overdue. */
const GRACE_MS = 3_600_000;

/** The tenant, the time that ages are measured at (milliseconds since the epoch), and after how many days without use one is dormant. */
export type ReportScope = { tenantId: string; now: number; dormantAfterDays: number };

/** Credentials of one service in one state. `ages`: of active secrets, how many are of each age that was asked for. */
export type CredentialCount = {
  service: string;
  state: CredentialState;
  count: number;
  /** Of the active ones. */
  withPolicy: number;
  overdue: number;
  dormant: number;
  /** When the oldest active secret was made. */
  oldest: Date | null;
  ages: number[];
};

/**
 * Counts a tenant's credentials by service and state, in one pass. `ageBounds`: where one age ends and the next begins, in
 * days, from 0; the last age has no end.
 */
export async function countCredentials(
  database: HasDb,
  scope: ReportScope,
  ageBounds: readonly number[],
): Promise<CredentialCount[]> {
  const rows = await credentials(database)
    .aggregate<Omit<CredentialCount, 'ages' | 'service' | 'state'> & Grouped>(
      [{ $match: { tenantId: scope.tenantId } }, { $group: groupOf(scope, ageBounds) }],
      BOUNDED,
    )
    .toArray();
  return rows.map(({ _id, ...row }) => ({
    ..._id,
    count: row.count,
    withPolicy: row.withPolicy,
    overdue: row.overdue,
    dormant: row.dormant,
    oldest: row.oldest,
    ages: ageBounds.map((_, index) => row[`age${index}`] ?? 0),
  }));
}

type Grouped = { _id: { service: string; state: CredentialState } } & Record<`age${number}`, number>;

const isActive = { $eq: ['$state', 'active'] };
const hasPolicy = { $gt: ['$policy.rotateEveryMs', 0] };

function groupOf({ now, dormantAfterDays }: ReportScope, ageBounds: readonly number[]): Document {
  const countIf = (...conditions: Document[]) => ({ $sum: { $cond: [{ $and: [isActive, ...conditions] }, 1, 0] } });
  const olderThan = (ageDays: number) => ({ $lte: ['$secretChangedAt', new Date(now - ageDays * DAY_MS)] });
  const ages = ageBounds.map((fromDays, index) => {
    const next = ageBounds[index + 1];
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

/** Released longer ago than `afterDays`. One that was never released counts from when it was made. */
function isDormant(now: number, afterDays: number): Document {
  return { $lt: [{ $ifNull: ['$lastReleasedAt', '$createdAt'] }, new Date(now - afterDays * DAY_MS)] };
}

/** What the report's lists show of a credential. */
export type ListedCredential = Pick<
  CredentialDoc,
  '_id' | 'service' | 'subject' | 'secretChangedAt' | 'lastReleasedAt' | 'policy'
> & { rotation: Pick<NonNullable<CredentialDoc['rotation']>, 'step'> | null };

/** Active credentials whose rotation is overdue, the oldest secret first. */
export function listOverdueCredentials(
  database: HasDb,
  { tenantId, now }: ReportScope,
  limit: number,
): Promise<ListedCredential[]> {
  const where = { tenantId, state: 'active', 'policy.rotateEveryMs': { $gt: 0 }, $expr: isOverdue(now) };
  return list(database, where, { sort: 'secretChangedAt', limit });
}

/** Active credentials that nobody has asked for, the oldest first. */
export function listDormantCredentials(
  database: HasDb,
  { tenantId, now, dormantAfterDays }: ReportScope,
  limit: number,
): Promise<ListedCredential[]> {
  const where = { tenantId, state: 'active', $expr: isDormant(now, dormantAfterDays) };
  return list(database, where, { sort: 'createdAt', limit });
}

function list(database: HasDb, where: Document, by: { sort: string; limit: number }): Promise<ListedCredential[]> {
  const projection = { service: 1, subject: 1, secretChangedAt: 1, lastReleasedAt: 1, policy: 1, 'rotation.step': 1 };
  return credentials(database)
    .find<ListedCredential>(where, { projection, ...BOUNDED })
    .sort({ [by.sort]: 1, _id: 1 })
    .limit(by.limit)
    .toArray();
}

/** How many of a tenant's secrets are sealed under each version of its data key, by index (tenantId, secret.keyVersion). */
export async function countSecretsByKeyVersion(database: HasDb, tenantId: string): Promise<Map<number, number>> {
  const counts = await credentials(database)
    .aggregate<{ _id: number; count: number }>(
      [
        { $match: { tenantId, 'secret.keyVersion': { $gt: 0 } } },
        { $group: { _id: '$secret.keyVersion', count: { $sum: 1 } } },
      ],
      BOUNDED,
    )
    .toArray();
  return new Map(counts.map(({ _id, count }) => [_id, count]));
}
