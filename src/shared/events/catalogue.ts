/**
 * The catalogue of incoming events: one row per type, with the schema of its data, the fields that are secret, the permission
 * that it takes, and the queue that acts on it.
 */
import { z } from 'zod';
import type { Action } from '../access/permissions.ts';
import type { EventQueue } from '../queue/jobs.ts';

const service = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be a service name');
const subject = z.string().min(1).max(255).meta({ description: "Whose credential it is, in the app's own words" });
const credentialId = z.string().regex(/^cred_[0-9a-f]{32}$/, 'must be a credential id');
const token = z.string().min(1).max(16_384);
const scopes = z.array(z.string().min(1).max(255)).max(100);
const reason = z.string().min(1).max(200);
const overlapSeconds = z
  .number()
  .min(0)
  .max(30 * 86_400)
  .meta({ description: 'How long the old secret stays good beside the new one; 0 after a leak' });

const exchange = z.strictObject({
  service,
  subject,
  code: token,
  codeVerifier: z.string().min(43).max(128),
  redirectUri: z.url().max(2048),
  scopes: scopes.optional(),
  resource: z.url().max(2048).optional(),
});

const clientCredentials = z.strictObject({
  service,
  subject,
  grantType: z.literal('client_credentials'),
  scopes: scopes.optional(),
  resource: z.url().max(2048).optional(),
});

const imported = z.strictObject({
  service,
  subject,
  kind: z.enum(['oauth2', 'api_key', 'client_secret', 'password']).default('api_key'),
  accessToken: token.meta({ description: 'The access token, API key, client secret or password' }),
  refreshToken: token.optional(),
  registrationAccessToken: token.optional(),
  tokenType: z.string().max(40).optional(),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
  scopes: scopes.optional(),
  resource: z.url().max(2048).optional(),
  metadata: z.record(z.string().max(64), z.string().max(1024)).optional(),
  rotateEveryDays: z.number().positive().max(3650).optional(),
  overlapSeconds: overlapSeconds.optional(),
});

const alert = z.strictObject({
  credentialId,
  confirmed: z.boolean().default(true).meta({
    description: 'Whether the secret is known to be out. A confirmed leak is contained before anyone is asked',
  }),
  kind: z.string().min(1).max(80).optional().meta({ description: "The alerting party's own word for it" }),
  url: z.url().max(2048).optional().meta({ description: 'Where it was found; a query is not kept' }),
  note: reason.optional(),
});

const usage = z.strictObject({
  credentialId,
  ip: z.union([z.ipv4(), z.ipv6()]),
  userAgent: z.string().min(1).max(255),
  at: z.iso.datetime({ offset: true }).optional(),
});

type EventRow = {
  data: z.ZodType;
  /** Fields of `data` that are sealed before anything is stored. */
  secrets: readonly string[];
  action: Action;
  queue: EventQueue;
  /** Overtakes the jobs that wait in its queue. */
  urgent?: true;
  /** Whether `data.credentialId` names what the event is about; else `data.service` does. */
  onCredential: boolean;
};

/** The types of events that Keyturn takes. */
export const EVENTS = {
  'credential.exchange.requested': {
    data: z.union([exchange, clientCredentials]),
    secrets: ['code', 'codeVerifier'],
    action: 'connect',
    queue: 'exchange',
    onCredential: false,
  },
  'credential.import.requested': {
    data: imported,
    secrets: ['accessToken', 'refreshToken', 'registrationAccessToken'],
    action: 'import',
    queue: 'exchange',
    onCredential: false,
  },
  'credential.refresh.requested': {
    data: z.strictObject({ credentialId, reason: reason.optional() }),
    secrets: [],
    action: 'refresh',
    queue: 'refresh',
    onCredential: true,
  },
  'credential.rotation.requested': {
    data: z.strictObject({ credentialId, reason: reason.optional(), overlapSeconds: overlapSeconds.optional() }),
    secrets: [],
    action: 'rotate',
    queue: 'rotate',
    onCredential: true,
  },
  'credential.revocation.requested': {
    data: z.strictObject({ credentialId, reason: reason.optional(), destroy: z.boolean().default(false) }),
    secrets: [],
    action: 'revoke',
    queue: 'revoke',
    onCredential: true,
  },
  'security.alert.reported': {
    data: alert,
    secrets: [],
    action: 'report',
    queue: 'detect',
    urgent: true,
    onCredential: true,
  },
  'credential.usage.reported': {
    data: usage,
    secrets: [],
    action: 'report',
    queue: 'detect',
    onCredential: true,
  },
} as const satisfies Record<string, EventRow>;

export type EventType = keyof typeof EVENTS;

/** `credential.exchange.requested` after a person's consent. */
export type ExchangeData = z.infer<typeof exchange>;
/** `credential.exchange.requested` for a token of the app's own (RFC 6749 §4.4). */
export type ClientCredentialsData = z.infer<typeof clientCredentials>;
/** `credential.import.requested` */
export type ImportData = z.infer<typeof imported>;
/** `credential.usage.reported` */
export type UsageData = z.infer<typeof usage>;

/** The row of an event type; undefined for any other string, also for one that every object has, e.g. `toString`. */
export function eventRow(type: string): EventRow | undefined {
  return Object.hasOwn(EVENTS, type) ? EVENTS[type as EventType] : undefined;
}
