import { fileEvents, newEvent } from '../../events/accept.ts';
import { type EventType, eventRow } from '../../events/catalogue.ts';
import type { IncidentDoc } from '../../store/compromise/incidents.ts';
import { type EventDoc, findEvent } from '../../store/lifecycle/events.ts';
import type { WorkerDeps } from '../../work/job.ts';

const SOURCE = 'keyturn:incidents';

/**
 * Asks for work on a credential on behalf of an incident, by an event like everyone else's. Asked again it is the same
 * event. Resolves to it. Throws `store_unavailable`.
 */
export async function fileRequest(
  deps: WorkerDeps,
  incident: IncidentDoc,
  type: EventType,
  data: Record<string, unknown>,
): Promise<EventDoc> {
  const row = eventRow(type)!;
  const { _id, tenantId, credentialId } = incident;
  const sender = {
    principal: { _id, tenantId, permissions: [] },
    origin: { ip: null, userAgent: null },
    traceparent: null,
  };
  const event = { specversion: '1.0' as const, id: `${_id}/${type}`, source: SOURCE, type, data: {} };
  const checked = { data, secrets: [], credentialId: row.onCredential ? credentialId : null };
  const doc = await newEvent(deps, sender, event, checked);
  const duplicates = await fileEvents(deps, [{ doc, queue: row.queue, urgent: true }]);
  const first = duplicates.get(doc._id);
  return (first && (await findEvent(deps.database, { tenantId, id: first }))) || doc;
}
