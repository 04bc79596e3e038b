import { makeEntry } from '../shared/audit.ts';
import type { Deps } from '../shared/deps.ts';
import { toAppError } from '../shared/errors.ts';
import type { Origin } from '../shared/store/documents.ts';
import { FIRST_TENANT_ID } from './bootstrap.ts';

/** So many refusals of one address are entries of their own in a minute; the rest is counted: the log is not anyone's to fill. */
const MOST_PER_MINUTE = 30;
const WINDOW_MS = 60_000;
const MOST_ADDRESSES = 10_000;

export type Refusal = {
  /** Null: the address is nobody's, or everybody's. It goes on the record of the first tenant, the operator's. */
  tenantId: string | null;
  source: string;
  sourceId: string | null;
  reason: string;
  origin: Origin;
};

/** Puts refused deliveries on the record (`alert.refused`). Never throws: a refusal stands without its record. */
export function makeRefusalRecord(
  deps: Pick<Deps, 'clock' | 'random' | 'commit' | 'log'>,
): (refusal: Refusal) => Promise<void> {
  const windows = new Map<string, { endsAt: number; count: number }>();
  const suppressed = new Map<string, number>();

  const isWithinBounds = (address: string): boolean => {
    const now = deps.clock.now();
    let window = windows.get(address);
    if (!window || window.endsAt <= now) {
      if (windows.size >= MOST_ADDRESSES) windows.delete(windows.keys().next().value!);
      window = { endsAt: now + WINDOW_MS, count: 0 };
      windows.set(address, window);
    }
    window.count += 1;
    if (window.count <= MOST_PER_MINUTE) return true;
    suppressed.set(address, (suppressed.get(address) ?? 0) + 1);
    return false;
  };

  return async ({ tenantId, source, sourceId, reason, origin }) => {
    const address = sourceId ?? source;
    if (!isWithinBounds(address)) return;
    const notRecorded = suppressed.get(address) ?? 0;
    suppressed.delete(address);
    const entry = makeEntry(deps, {
      tenantId: tenantId ?? FIRST_TENANT_ID,
      type: 'alert.refused',
      actor: { kind: 'system', id: address, ...origin },
      outcome: 'denied',
      reason,
      detail: { source, ...(notRecorded > 0 && { notRecorded }) },
    });
    await deps
      .commit({ operations: [], entries: [entry] })
      .catch((error) =>
        deps.log.warn({ code: toAppError(error).code, source }, 'a refused alert is not on the record'),
      );
  };
}
