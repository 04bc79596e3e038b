/** `credentials`: when each is due for what, and how that is stored. */
import type { HasDb } from '../base/collection.ts';
import type { DueDate } from '../base/due-date.ts';
import type { CredentialDoc, Due } from './credentials.ts';

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

/** The kinds of work that a credential comes due for. */
export const DUE_KINDS = ['refresh', 'rotate', 'expire', 'validate'] as const satisfies (keyof Due)[];

export type DueKind = (typeof DUE_KINDS)[number];

/** Where the date lies at which work of this kind is due. */
export function duePath(kind: DueKind): string {
  return `due.${kind}`;
}

/** Where the date lies that was due when the sweep handed the work to a worker; it stays until a worker has settled it. */
function claimPath(kind: DueKind): string {
  return `claimed.${kind}`;
}

const dueDate = (kind: DueKind): DueDate<'service'> => ({
  in: 'credentials',
  field: duePath(kind),
  claim: claimPath(kind),
  isClaimed: { [claimPath(kind)]: { $exists: true } },
  read: ['service'],
});

/** The dates that the sweep looks at, each by its index. */
export const DUE = {
  refresh: dueDate('refresh'),
  rotate: dueDate('rotate'),
  expire: dueDate('expire'),
  validate: dueDate('validate'),
} satisfies Record<DueKind, DueDate<'service'>>;

/**
 * The dates that an update changes. A date: due then. Null: not due any more. Either settles what was claimed of this kind;
 * kinds that are left out stay as they are, claim and all.
 */
export type NewDates = { [K in DueKind]?: Date | null };

/** The `$set` and `$unset` that write new dates. */
export function datesUpdate(dates: NewDates): { $set: Record<string, Date>; $unset: Record<string, ''> } {
  const $set: Record<string, Date> = {};
  const $unset: Record<string, ''> = {};
  for (const kind of DUE_KINDS) {
    const date = dates[kind];
    if (date === undefined) continue;
    $unset[claimPath(kind)] = '';
    if (date === null) $unset[duePath(kind)] = '';
    else $set[duePath(kind)] = date;
  }
  return { $set, $unset };
}

/** Gives a credential other dates while its lease lasts and its state is as it was read; else the dates are another's to set. */
export async function rescheduleHeldCredential(
  database: HasDb,
  { _id, tenantId, fence, state }: Pick<CredentialDoc, '_id' | 'tenantId' | 'fence' | 'state'>,
  dates: NewDates,
): Promise<void> {
  await credentials(database).updateOne({ _id, tenantId, fence, state }, datesUpdate(dates));
}

/**
 * Drops the dates of credentials at rest (quarantined, revoked, …) for work on their secret. A transition drops them itself; these were
 * written by an earlier version, and would come due for ever. Without a tenant: a job's payload spans tenants.
 */
export async function dropDatesAtRest(database: HasDb, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  const { $unset } = datesUpdate({ refresh: null, expire: null, validate: null });
  await credentials(database).updateMany({ _id: { $in: ids }, state: { $ne: 'active' } }, { $unset });
}

/**
 * Has rotations that the sweep handed over come due again at `until`, the end of a lease: sooner than the sweep itself would look
 * again. Without a tenant: a job's payload spans tenants.
 */
export async function postponeClaimedRotations(
  database: HasDb,
  { ids, until }: { ids: string[]; until: Date },
): Promise<void> {
  if (ids.length === 0) return;
  const where = { _id: { $in: ids }, [claimPath('rotate')]: { $exists: true } };
  await credentials(database).updateMany(where, { $set: { [duePath('rotate')]: until } });
}
