/**
 * The only way work enters. An event is validated, authorised, its secrets sealed, and it is committed with majority write
 * concern: what is accepted is durable (promise 2). Then the workers get a hint; where that is lost, the sweep finds the event.
 */
import type { z } from 'zod';
import { may } from '../access/permissions.ts';
import { AppError, type ErrorCode, toAppError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import { sendEventHints } from '../queue/hints.ts';
import { type EventQueue, PRIORITY } from '../queue/jobs.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';
import type { Origin } from '../store/base/document.ts';
import { findServicesOf } from '../store/lifecycle/credentials-lookup.ts';
import { type EventDoc, insertEvents } from '../store/lifecycle/events.ts';
import { eventRow } from './catalogue.ts';
import { type CloudEvent, cloudEventSchema } from './cloud-event.ts';

/** What taking an event needs. */
export type IntakeDeps = Pick<
  Deps,
  'clock' | 'random' | 'database' | 'sealer' | 'secrets' | 'providers' | 'hints' | 'log'
>;

/** Who sends an event, from where, and the trace that it belongs to (W3C traceparent). */
export type Sender = {
  principal: Pick<PrincipalDoc, '_id' | 'tenantId' | 'permissions'>;
  origin: Origin;
  traceparent: string | null;
};

/** What became of an event. `id` is the sender's, null where it gave none; `eventId` is Keyturn's: of a duplicate, the first one's. */
export type Receipt =
  | { id: string | null; eventId: string; status: 'accepted' | 'duplicate' }
  | { id: string | null; status: 'rejected'; problem: { code: ErrorCode; detail: string } };

/** After this time the sweep takes up an event whose hint did not reach a worker. Milliseconds. */
const RELAY_AFTER_MS = 15_000;

/** A checked event, and the queue that acts on it. */
export type PreparedEvent = { doc: EventDoc; queue: EventQueue; urgent: boolean };

/**
 * Takes events in one write. One receipt per event, in order; a bad one never harms its neighbours.
 * Throws `store_unavailable` when nothing could be made durable.
 */
export async function acceptEvents(deps: IntakeDeps, sender: Sender, raw: unknown[]): Promise<Receipt[]> {
  const services = await servicesOf(deps, sender, raw);
  const prepared = await Promise.all(raw.map((event) => prepare(deps, sender, event, services).catch(toAppError)));
  const fresh = prepared.filter((one): one is PreparedEvent => !(one instanceof AppError));
  const duplicates = await fileEvents(deps, fresh);
  return prepared.map((one, index) => {
    if (one instanceof AppError) return rejected(givenId(raw[index]), one);
    const first = duplicates.get(one.doc._id);
    return first === undefined
      ? { id: one.doc.sourceId, eventId: one.doc._id, status: 'accepted' }
      : { id: one.doc.sourceId, eventId: first, status: 'duplicate' };
  });
}

/** Sources of events that Keyturn makes itself begin with this. Their ids carry meaning, so nobody else may use such a source. */
const RESERVED = 'keyturn:';

/** As `acceptEvents`, for what comes from outside: an event that claims a source of Keyturn's own is rejected. */
export async function acceptFromOutside(deps: IntakeDeps, sender: Sender, events: unknown[]): Promise<Receipt[]> {
  const isReserved = (event: unknown) =>
    String((event as { source?: unknown } | null)?.source)
      .toLowerCase()
      .startsWith(RESERVED);
  const taken = await acceptEvents(
    deps,
    sender,
    events.filter((event) => !isReserved(event)),
  );
  const rest = taken.values();
  const detail = `source: sources that begin with "${RESERVED}" are Keyturn's own.`;
  return events.map((event) =>
    isReserved(event) ? rejected(givenId(event), new AppError('invalid_event', { detail })) : rest.next().value!,
  );
}

/**
 * Makes checked events durable in one write, then sends their hints. Resolves to those that were there before: the id of the new
 * document → the id of the first one. Throws `store_unavailable` when nothing could be made durable.
 */
export async function fileEvents(deps: IntakeDeps, prepared: PreparedEvent[]): Promise<Map<string, string>> {
  const docs = prepared.map(({ doc }) => doc);
  const duplicates = await insertEvents(deps.database, docs);
  await hint(
    deps,
    prepared.filter(({ doc }) => !duplicates.has(doc._id)),
  );
  return duplicates;
}

function rejected(id: string | null, error: AppError): Receipt {
  if (error.code === 'key_unavailable' || error.code === 'store_unavailable') throw error;
  return { id, status: 'rejected', problem: { code: error.code, detail: error.message } };
}

function givenId(raw: unknown): string | null {
  const id = (raw as { id?: unknown } | null)?.id;
  return typeof id === 'string' ? id.slice(0, 255) : null;
}

/** The services of the credentials that the events name, in one read: a permission is for a service. */
function servicesOf(deps: IntakeDeps, sender: Sender, raw: unknown[]): Promise<Map<string, string>> {
  const ids = raw
    .map((event) => (event as { data?: { credentialId?: unknown } } | null)?.data?.credentialId)
    .filter((id) => typeof id === 'string');
  return findServicesOf(deps.database, { tenantId: sender.principal.tenantId, ids });
}

async function prepare(
  deps: IntakeDeps,
  sender: Sender,
  raw: unknown,
  services: Map<string, string>,
): Promise<PreparedEvent> {
  const event = parse(cloudEventSchema, raw, 'The event');
  const row = eventRow(event.type);
  if (!row)
    throw new AppError('invalid_event', { detail: `type: "${event.type}" is not an event type that Keyturn takes.` });
  const data = parse(row.data, event.data, 'data') as Record<string, unknown>;
  const credentialId = row.onCredential ? (data.credentialId as string) : null;
  const service = credentialId ? services.get(credentialId) : (data.service as string);
  if (service === undefined)
    throw new AppError('not_found', { detail: 'data.credentialId: there is no such credential.' });
  if (!may(sender.principal, service, row.action)) {
    throw new AppError('permission_denied', { detail: `This needs the permission ${service}:${row.action}.` });
  }
  if (!credentialId) deps.providers.get(service);
  const doc = await newEvent(deps, sender, event, { data, secrets: row.secrets, credentialId });
  return { doc, queue: row.queue, urgent: row.urgent === true };
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  // Messages of zod name the field and the rule, never the value.
  const first = parsed.error.issues[0]!;
  throw new AppError('invalid_event', { detail: `${[what, ...first.path].join('.')}: ${first.message}` });
}

/** The document of a checked event, its secret fields sealed. Throws `key_unavailable`. */
export async function newEvent(
  deps: IntakeDeps,
  sender: Sender,
  event: CloudEvent,
  checked: { data: Record<string, unknown>; secrets: readonly string[]; credentialId: string | null },
): Promise<EventDoc> {
  const now = deps.clock.now();
  const _id = newId('event', deps);
  const { tenantId } = sender.principal;
  const isSecret = ([field]: [string, unknown]) => checked.secrets.includes(field);
  const fields = Object.entries(checked.data);
  const secretFields = fields.filter(isSecret);
  return {
    _id,
    tenantId,
    source: event.source,
    sourceId: event.id,
    type: event.type,
    subject: event.subject ?? null,
    time: event.time ? new Date(event.time) : null,
    data: Object.fromEntries(fields.filter((field) => !isSecret(field))),
    sealed: secretFields.length > 0 ? await sealFields(deps, { tenantId, _id }, secretFields) : null,
    principalId: sender.principal._id,
    origin: sender.origin,
    status: 'accepted',
    attempts: 0,
    dueAt: new Date(now + RELAY_AFTER_MS),
    problem: null,
    credentialId: checked.credentialId,
    traceparent: event.traceparent ?? sender.traceparent,
    receivedAt: new Date(now),
    settledAt: null,
    fence: 0,
    lease: null,
    interrupted: null,
  };
}

async function sealFields(deps: IntakeDeps, owner: { tenantId: string; _id: string }, fields: [string, unknown][]) {
  const context = { tenantId: owner.tenantId, objectId: owner._id, generation: 1 };
  const sealed = await deps.sealer.seal(JSON.stringify(Object.fromEntries(fields)), context);
  // Always in MongoDB beside the event, whichever store keeps credentials: it is needed for a short time only.
  return { store: 'mongodb', keyVersion: sealed.keyVersion, jwe: sealed.jwe };
}

/** Sends the hints. When Redis is away the sweep finds the events instead. */
async function hint(deps: IntakeDeps, accepted: PreparedEvent[]): Promise<void> {
  for (const group of Map.groupBy(accepted, ({ queue, urgent }) => `${queue} ${urgent}`).values()) {
    const { queue, urgent } = group[0]!;
    const ids = group.map(({ doc }) => doc._id);
    await sendEventHints(deps, queue, ids, urgent ? PRIORITY.urgent : PRIORITY.onDemand);
  }
}
