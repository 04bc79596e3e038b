/** Refusals on the record, within bounds: nobody may fill the log by being refused. */

import { makeBoundedMap } from '../platform/bounded-map.ts';
import { toAppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { makeEntry } from '../store/entry.ts';

/** Refusals of one actor that are entries of their own, in one window; the rest is counted. */
const MAX_PER_WINDOW = 30;
const WINDOW_MS = 60_000;
/** Actors that are kept in mind; the one that came up first is forgotten first. */
const MAX_ACTORS = 10_000;

export type Refusal = Pick<Entry, 'tenantId' | 'actor' | 'reason'> & Partial<Pick<Entry, 'detail'>>;

/** `notRecorded`: refusals that were only counted since the last entry. */
type Window = { endsAt: number; count: number; notRecorded: number };

/** Records refusals as entries of `type`. Never throws: a refusal stands without its record. */
export function makeRefusalRecord(
  deps: Pick<Deps, 'clock' | 'random' | 'commit' | 'log'>,
  type: string,
): (refusal: Refusal) => Promise<void> {
  const windows = makeBoundedMap<string, Window>(MAX_ACTORS);

  const windowOf = (actor: string): Window => {
    const now = deps.clock.now();
    const known = windows.get(actor);
    if (known && known.endsAt > now) return known;
    const window = { endsAt: now + WINDOW_MS, count: 0, notRecorded: known?.notRecorded ?? 0 };
    windows.set(actor, window);
    return window;
  };

  /** How many refusals were only counted before this one; null when this one is only counted too. */
  const admit = (actor: string): number | null => {
    const window = windowOf(actor);
    window.count += 1;
    if (window.count > MAX_PER_WINDOW) {
      window.notRecorded += 1;
      return null;
    }
    const { notRecorded } = window;
    window.notRecorded = 0;
    return notRecorded;
  };

  return async ({ detail, ...refusal }) => {
    const notRecorded = admit(refusal.actor.id);
    if (notRecorded === null) return;
    const entry = makeEntry(deps, {
      ...refusal,
      type,
      outcome: 'denied',
      detail: { ...detail, ...(notRecorded > 0 && { notRecorded }) },
    });
    await deps
      .commit({ operations: [], entries: [entry] })
      .catch((error) => deps.log.warn({ code: toAppError(error).code, type }, 'a refusal is not on the record'));
  };
}
