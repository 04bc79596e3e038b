/**
 * The one writer of transitions: state, dates, claims, block and entry of a credential, as the lifecycle table says. Every
 * change is under compare-and-set on the state that was read, and commits with its entry (promise 6).
 */
import { isDeepStrictEqual } from 'node:util';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import type { Change, Operation } from '../store/commit.ts';
import { aboutCredential, makeEntry } from '../store/entry.ts';
import type { CredentialDoc, Due } from '../store/lifecycle/credentials.ts';
import { datesUpdate, type NewDates } from '../store/lifecycle/credentials-due.ts';
import { type DueAfter, type Transition, transit } from './lifecycle.ts';
import { dueAtOnce, nextRotation } from './schedule.ts';

/** Fields that the table does not determine. */
type OwnFields = Partial<Omit<CredentialDoc, '_id' | 'tenantId' | 'state' | 'due' | 'claimed'>>;

export type TransitionRequest = {
  transition: Transition;
  /** Fields beside those of the table: of a new secret, or `lease: null` in the last write under a lease. */
  set?: OwnFields;
  /** Dates of the new secret; `rotate`: when a rotation under way goes on, where it is not when it was due. */
  due?: Due;
  /** Why a person may not restore it from now on. */
  block?: string;
  /** Conditions beside the state, e.g. the fence of the lease that the change is made under. */
  expect?: Partial<Pick<CredentialDoc, '_id' | 'tenantId' | 'fence' | 'generation' | 'blocked'>>;
  /** The document was drafted and is inserted. */
  isNew?: boolean;
  /**
   * Leaves out of the update what `doc` has already, for a write that happens often: every field costs the server. Only under
   * a lease: without one the document may have changed since it was read.
   */
  onlyChanges?: boolean;
} & Told;

/** The entry's own words. `detail.from` is added where the state changes. */
type Told = Pick<Entry, 'actor'> & Partial<Pick<Entry, 'reason' | 'outcome' | 'detail' | 'eventId' | 'incidentId'>>;

type ChangeDeps = Pick<Deps, 'clock' | 'random'>;

/**
 * The operation and the entry of one transition of `doc`, as it was read. It has no entry where the table says that an
 * incident's tells of it: then it commits with that. Throws `transition_refused`.
 */
export function credentialChange(deps: ChangeDeps, doc: CredentialDoc, request: TransitionRequest): Change {
  const row = transit(request.transition, doc.state);
  const at = new Date(deps.clock.now());
  const fields = {
    updatedAt: at,
    ...Object.fromEntries(row.clears.map((field) => [field, null])),
    ...(request.block !== undefined && { blocked: { reason: request.block, at } }),
    ...request.set,
    state: row.state,
  };
  const dates = datesAfter(row.due, { doc, after: { ...doc, ...fields }, given: request.due, at });
  return {
    operations: [request.isNew ? insertOf(doc, fields, dates) : updateOf(doc, fields, dates, request, row.due)],
    entries: row.entry === null ? [] : [entryOf(deps, doc, row, request)],
  };
}

type Dating = { doc: CredentialDoc; after: CredentialDoc; given: Due | undefined; at: Date };

const NONE_OF_SECRET = { refresh: null, expire: null, validate: null };

/** At rest nothing of the secret is due: nobody may use it, so nobody need look after it. */
function datesAfter(due: DueAfter, dating: Dating): NewDates {
  const { after, at } = dating;
  const { rotate, ...given } = dating.given ?? {};
  const ofSecret = dating.given ? given : dueAtOnce(after, at);
  return {
    ...NONE_OF_SECRET,
    ...(after.state === 'active' && ofSecret),
    ...ROTATION_AFTER[due](dating),
    ...(rotate && { rotate }),
  };
}

/** The date of the rotation: left as it is, set, or (null) dropped. One under way keeps a date whatever happens (promise 5). */
const ROTATION_AFTER: Record<DueAfter, (dating: Dating) => Pick<NewDates, 'rotate'>> = {
  of_secret: () => ({}),
  of_secret_and_policy: ({ doc, after, at }) => (doc.rotation ? {} : { rotate: nextRotation(after, at.getTime()) }),
  of_rotation: ({ doc }) => (doc.rotation ? {} : { rotate: null }),
  end_of_rotation: ({ doc, at }) => ({ rotate: doc.rotation ? at : null }),
};

type Fields = OwnFields & Pick<CredentialDoc, 'state'>;

function insertOf(doc: CredentialDoc, fields: Fields, dates: NewDates): Operation {
  const due = Object.fromEntries(Object.entries(dates).filter(([, date]) => date !== null));
  return { in: 'credentials', insert: { ...doc, ...fields, due, claimed: {} } };
}

function updateOf(
  doc: CredentialDoc,
  fields: Fields,
  dates: NewDates,
  { expect, onlyChanges }: TransitionRequest,
  due: DueAfter,
): Operation {
  const { $set, $unset } = datesUpdate(dates);
  const update = { $set: { ...fields, ...$set }, $unset };
  return {
    in: 'credentials',
    update: { _id: doc._id, tenantId: doc.tenantId, state: doc.state, ...rotationAsRead(doc, due), ...expect },
    set: withoutEmpty(onlyChanges ? changesIn(update, doc) : update),
  };
}

/**
 * Whether a rotation is under way decides about its date, and it may begin or end meanwhile: a date that was dropped from one
 * under way would leave it where it is, for ever.
 */
function rotationAsRead({ rotation }: CredentialDoc, due: DueAfter) {
  if (due === 'of_secret') return {};
  return rotation ? { 'rotation.id': rotation.id } : { rotation: null };
}

function entryOf(
  deps: ChangeDeps,
  doc: CredentialDoc,
  { state, entry }: ReturnType<typeof transit>,
  { actor, reason, outcome, detail, eventId, incidentId }: Told,
): Entry {
  return makeEntry(deps, {
    ...aboutCredential(doc),
    type: entry!,
    actor,
    ...(outcome && { outcome }),
    reason: reason ?? null,
    eventId: eventId ?? null,
    incidentId: incidentId ?? null,
    detail: { ...(state !== doc.state && { from: doc.state }), ...detail },
  });
}

type Update = { $set: Record<string, unknown>; $unset: Record<string, ''> };

function changesIn({ $set, $unset }: Update, before: CredentialDoc): Update {
  return {
    $set: Object.fromEntries(Object.entries($set).filter(([path, value]) => !isSame(valueAt(before, path), value))),
    $unset: Object.fromEntries(Object.entries($unset).filter(([path]) => valueAt(before, path) !== undefined)),
  };
}

function withoutEmpty({ $set, $unset }: Update) {
  return Object.keys($unset).length > 0 ? { $set, $unset } : { $set };
}

function isSame(a: unknown, b: unknown): boolean {
  // Most fields are plain values: the deep comparison costs ten times as much.
  return a === b || (typeof a === 'object' && typeof b === 'object' && isDeepStrictEqual(a, b));
}

/** By a path of one or two names. */
function valueAt(doc: object, path: string): unknown {
  const fields = doc as Record<string, unknown>;
  const dot = path.indexOf('.');
  if (dot < 0) return fields[path];
  return (fields[path.slice(0, dot)] as Record<string, unknown> | undefined)?.[path.slice(dot + 1)];
}
