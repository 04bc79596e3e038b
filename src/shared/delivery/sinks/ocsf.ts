/** Entries as events of the Open Cybersecurity Schema Framework 1.8 (https://schema.ocsf.io). */
import type { Message } from './contract.ts';

const VERSION = '1.8.0';

const CLASSES = {
  accountChange: { class_uid: 3001, category_uid: 3 },
  entityManagement: { class_uid: 3004, category_uid: 3 },
  detectionFinding: { class_uid: 2004, category_uid: 2 },
  apiActivity: { class_uid: 6003, category_uid: 6 },
} as const;

type ClassName = keyof typeof CLASSES;
type Row = { type: RegExp; class: ClassName; activity: number };

/** First match counts. Activities are those of the class; 99 is `Other`. */
const ROWS: Row[] = [
  { type: /^credential\.(accessed|released)$/, class: 'apiActivity', activity: 2 },
  { type: /^credential\.activated$/, class: 'entityManagement', activity: 1 },
  { type: /^credential\.(destroyed)$/, class: 'entityManagement', activity: 4 },
  { type: /^credential\./, class: 'entityManagement', activity: 3 },
  { type: /^principal\.created$/, class: 'accountChange', activity: 1 },
  { type: /^principal\.revoked$/, class: 'accountChange', activity: 5 },
  { type: /^principal\./, class: 'accountChange', activity: 99 },
  { type: /^incident\.opened$/, class: 'detectionFinding', activity: 1 },
  { type: /^incident\.(resolved|closed)$/, class: 'detectionFinding', activity: 3 },
  { type: /^incident\./, class: 'detectionFinding', activity: 2 },
  { type: /\.created$/, class: 'apiActivity', activity: 1 },
  { type: /\.deleted$/, class: 'apiActivity', activity: 4 },
  { type: /./, class: 'apiActivity', activity: 99 },
];

const SEVERITY = { informational: 1, medium: 3, high: 4 };
const STATUS = { success: 1, failure: 2 };

/** One OCSF event. `metadata.uid` and `metadata.sequence` are the entry's id and place in the chain. */
export function toOcsf(message: Message, product: { version: string }): Record<string, unknown> {
  const row = ROWS.find(({ type }) => type.test(message.type))!;
  const { class_uid, category_uid } = CLASSES[row.class];
  const { data } = message;
  return {
    class_uid,
    category_uid,
    activity_id: row.activity,
    ...(row.activity === 99 && { activity_name: message.type }),
    type_uid: class_uid * 100 + row.activity,
    time: Date.parse(message.timestamp),
    severity_id: severityOf(message),
    status_id: data.outcome === 'success' ? STATUS.success : STATUS.failure,
    ...(data.reason && { status_detail: data.reason }),
    message: message.type,
    metadata: {
      version: VERSION,
      product: { name: 'Keyturn', vendor_name: 'Keyturn', version: product.version },
      event_code: message.type,
      uid: message.id,
      sequence: data.seq,
      ...(data.eventId && { correlation_uid: data.eventId }),
    },
    ...DETAILS[row.class](message),
    unmapped: { detail: data.detail, prev: data.prev, hash: data.hash },
  };
}

/** The attributes that each class requires beyond the base event. */
const DETAILS: Record<ClassName, (message: Message) => Record<string, unknown>> = {
  accountChange: ({ data }) => ({
    ...originOf(data),
    user: { uid: String(data.detail.principalId ?? data.actor.id) },
  }),
  entityManagement: ({ data }) => ({
    ...originOf(data),
    entity: {
      uid: data.credentialId ?? data.id,
      type: 'Credential',
      ...(data.service && { name: data.service }),
      data: { subject: data.subject },
    },
  }),
  detectionFinding: (message) => ({
    finding_info: {
      uid: message.data.incidentId ?? message.id,
      title: String(message.data.detail.title ?? message.type),
      created_time: Date.parse(message.timestamp),
    },
    // A finding has no actor of its own.
    evidences: [originOf(message.data)],
    ...(message.data.credentialId && { resources: [{ uid: message.data.credentialId, type: 'Credential' }] }),
  }),
  apiActivity: ({ type, data }) => ({
    // Required by the class: a process of ours has a name and no address.
    src_endpoint: { name: data.actor.id },
    ...originOf(data),
    api: { operation: type, service: { name: 'Keyturn' } },
    ...(data.credentialId && { resources: [{ uid: data.credentialId, type: 'Credential' }] }),
  }),
};

function severityOf({ type, data }: Message): number {
  if (type.startsWith('incident.') || type === 'credential.quarantined') return SEVERITY.high;
  return data.outcome === 'success' ? SEVERITY.informational : SEVERITY.medium;
}

/** Who did it and from where. */
function originOf(data: Message['data']): Record<string, unknown> {
  const { kind, id, userAgent, ip } = data.actor;
  const user = { uid: id, type_id: 99, type: kind };
  return {
    actor: userAgent ? { user, app_name: userAgent } : { user },
    ...(ip && { src_endpoint: { ip } }),
  };
}
