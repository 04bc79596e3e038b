/** Refusals on the record, within bounds: the log is not anyone's to fill. */

import { toAppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { makeEntry } from '../store/entry.ts';

/** So many refusals of one actor are entries of their own in a minute; the rest is counted. */
const MAX_PER_MINUTE = 30;
const WINDOW_MS = 60_000;
const MAX_ACTORS = 10_000;

export type Refusal = Pick<Entry, 'tenantId' | 'actor' | 'reason'> & Partial<Pick<Entry, 'detail'>>;

/** Records refusals as entries of `type`. Never throws: a refusal stands without its record. */
export function makeRefusalRecord(
  deps: Pick<Deps, 'clock' | 'random' | 'commit' | 'log'>,
  type: string,
): (refusal: Refusal) => Promise<void> {
  const windows = new Map<string, { endsAt: number; count: number }>();
  const suppressed = new Map<string, number>();

  const isWithinBounds = (actor: string): boolean => {
    const now = deps.clock.now();
    let window = windows.get(actor);
    if (!window || window.endsAt <= now) {
      if (windows.size >= MAX_ACTORS) windows.delete(windows.keys().next().value!);
      window = { endsAt: now + WINDOW_MS, count: 0 };
      windows.set(actor, window);
    }
    window.count += 1;
    if (window.count <= MAX_PER_MINUTE) return true;
    suppressed.set(actor, (suppressed.get(actor) ?? 0) + 1);
    return false;
  };

  return async ({ detail, ...refusal }) => {
    const { id } = refusal.actor;
    if (!isWithinBounds(id)) return;
    const notRecorded = suppressed.get(id) ?? 0;
    suppressed.delete(id);
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
