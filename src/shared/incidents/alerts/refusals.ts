import { FIRST_TENANT_ID } from '../../access/bootstrap.ts';
import { makeRefusalRecord } from '../../audit/refusals.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { Origin } from '../../store/base/document.ts';

export type AlertRefusal = {
  /** Null: the address is nobody's, or everybody's. It goes on the record of the first tenant, the operator's. */
  tenantId: string | null;
  source: string;
  sourceId: string | null;
  reason: string;
  origin: Origin;
};

/** Puts refused deliveries on the record (`alert.refused`). Never throws: a refusal stands without its record. */
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
