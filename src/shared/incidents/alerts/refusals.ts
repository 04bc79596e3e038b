import { FIRST_TENANT_ID } from '../../access/bootstrap.ts';
import { makeRefusalRecord } from '../../audit/refusals.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { Origin } from '../../store/base/document.ts';

/** A delivery that was refused, and why. */
export type AlertRefusal = {
  /** Null where the address is nobody's or the shared one: then it goes on the log of the first tenant, which is the operator's. */
  tenantId: string | null;
  source: string;
  sourceId: string | null;
  reason: string;
  origin: Origin;
};

/** Puts refused deliveries on the log (`alert.refused`). Never throws: a delivery stays refused when its entry cannot be written. */
export function makeAlertRefusalRecord(
  deps: Pick<Deps, 'clock' | 'random' | 'commit' | 'log'>,
): (refusal: AlertRefusal) => Promise<void> {
  const record = makeRefusalRecord(deps, 'alert.refused');
  return ({ tenantId, source, sourceId, reason, origin }) =>
    record({
      tenantId: tenantId ?? FIRST_TENANT_ID,
      actor: { kind: 'system', id: sourceId ?? source, ...origin },
      reason,
      detail: { source },
    });
}
