/** What lies in MongoDB, one type per collection. Every document carries `tenantId`, every query filters on it. */

import type { CredentialState } from '../credentials/lifecycle.ts';
import type { ErrorCode } from '../platform/errors.ts';
import type { StoredSecret } from '../sealing/contract.ts';

/**
 * The right of one worker to act on one object. `until` is set and compared by the server's clock (`$$NOW`), so that
 * skew between processes does not matter. `fence` grows with every lease; a write names it, so a stale worker's fails.
 */
export type Lease = { holder: string; purpose: string; until: Date };

export type Leased = {
  fence: number;
  lease: Lease | null;
  /** The lease that was taken over because its holder did not come back; null when the last one ended well. */
  interrupted: Lease | null;
};

/** When something is to be done with a credential next. Absent: nothing. Each has an index of its own. */
export type Due = { refresh?: Date; rotate?: Date; expire?: Date; validate?: Date };

export type CredentialKind = 'oauth2' | 'client_credentials' | 'api_key' | 'client_secret' | 'password';

export type CredentialDoc = Leased & {
  _id: string;
  tenantId: string;
  service: string;
  /** Whose credential it is, in the app's own words. Unique with tenant and service while not destroyed. */
  subject: string;
  kind: CredentialKind;
  state: CredentialState;
  /** Number of the present secret; every write of a secret adds one. 0: none yet. */
  generation: number;
  secret: StoredSecret | null;
  /** Keyed fingerprints of the tokens of the present and the previous generation, to find a leaked string. */
  fingerprints: string[];
  issuer: string | null;
  resource: string | null;
  scopes: string[];
  tokenType: string;
  /** Of the access token. Null: none is known. */
  expiresAt: Date | null;
  refreshExpiresAt: Date | null;
  hasRefreshToken: boolean;
  metadata: Record<string, string>;
  due: Due;
  /** What the sweep has handed to a worker and nobody has settled yet, with the dates that were due. */
  claimed: Due;
  /** Failures in a row; 0 after a success. */
  failures: number;
  lastError: { code: ErrorCode; at: Date } | null;
  /** Why and until when release is refused although the state would allow it, e.g. a revocation under way. */
  blocked: { reason: string; at: Date } | null;
  rotation: RotationDoc | null;
  policy: { rotateEveryMs?: number; overlapMs?: number };
  createdAt: Date;
  updatedAt: Date;
  secretChangedAt: Date | null;
  lastReleasedAt: Date | null;
};

/** A rotation under way; its recorded step is where it continues after a crash. */
export type RotationDoc = {
  id: string;
  rotator: string;
  step: 'planned' | 'minted' | 'applied' | 'verified' | 'promoted';
  eventId: string | null;
  /** The generation that it replaces; `previous` is sealed as that one. */
  generation: number;
  /** Which minted secret this is, from 1: `pending` is sealed under the rotation's id as this generation. */
  attempt: number;
  /** The new secret, sealed and committed before it is applied anywhere. */
  pending: StoredSecret | null;
  /** What becomes the credential's metadata and expiry together with `pending`. Never a secret. */
  metadata: Record<string, string>;
  expiresAt: Date | null;
  /** The old secret, kept until it retires, with the metadata that go with it. */
  previous: StoredSecret | null;
  previousMetadata: Record<string, string>;
  /** How long the old secret stays good beside the new one. */
  overlapMs: number;
  /** Failures in a row of the present step. */
  failures: number;
  /** How often the pending secret was not accepted. */
  rejections: number;
  /** The pending secret is to be ended at the other side; why, and what comes next. */
  discard: { code: ErrorCode; next: 'mint' | 'give_up' } | null;
  startedAt: Date;
  retireAt: Date | null;
};

export type EventStatus = 'accepted' | 'processing' | 'succeeded' | 'failed' | 'parked';

export type EventDoc = Leased & {
  _id: string;
  tenantId: string;
  /** CloudEvents `source` and `id`: together they identify a duplicate (CloudEvents 1.0 §3.1.1). */
  source: string;
  sourceId: string;
  type: string;
  subject: string | null;
  time: Date | null;
  /** The checked data. Fields that are secret are in `sealed` instead. */
  data: Record<string, unknown>;
  /** The secret fields as one sealed JSON object, bound to this event (generation 1). */
  sealed: StoredSecret | null;
  principalId: string;
  origin: Origin;
  status: EventStatus;
  attempts: number;
  /** When work on it is next due; absent once settled. */
  dueAt?: Date;
  problem: { code: ErrorCode; detail: string } | null;
  credentialId: string | null;
  /** W3C traceparent of the request that brought it. */
  traceparent: string | null;
  receivedAt: Date;
  settledAt: Date | null;
};

export type Origin = { ip: string | null; userAgent: string | null };

export type AuthorizationDoc = {
  /** SHA-256 of the state, base64url: the state itself is a bearer value. */
  _id: string;
  tenantId: string;
  principalId: string;
  service: string;
  subject: string;
  scopes: string[];
  resource: string | null;
  /** Where the person is sent back to in the app; null shows our own page. */
  returnTo: string | null;
  codeVerifier: StoredSecret;
  /** SHA-256 of the cookie that ties the flow to one browser; set when the browser first passes our start page. */
  browserHash: string | null;
  usedAt: Date | null;
  eventId: string | null;
  createdAt: Date;
  expiresAt: Date;
};

export type TenantDoc = { _id: string; tenantId: string; name: string; createdAt: Date; shreddedAt: Date | null };

export type PrincipalDoc = {
  _id: string;
  tenantId: string;
  name: string;
  /** SHA-256 of the key in hex; the key has 256 bits of entropy, so no slow hash is needed. */
  keyHash: string;
  /** `service:action`, each part may be `*`. */
  permissions: string[];
  /** Sealed signing secret (Standard Webhooks `whsec_…`) when requests must be signed. */
  signing: StoredSecret | null;
  createdAt: Date;
  expiresAt: Date | null;
  revokedAt: Date | null;
};

/** The id of a signed request that was taken. `_id`: `<principal>/<webhook-id>`. It is kept for as long as its time is good. */
export type RequestIdDoc = { _id: string; tenantId: string; expiresAt: Date };

export type ActorKind = 'principal' | 'worker' | 'subject' | 'system';

/** One record of the audit log, as committed with the change it tells of. */
export type Entry = {
  _id: string;
  tenantId: string;
  at: Date;
  /** Past tense: `credential.refreshed`. */
  type: string;
  actor: { kind: ActorKind; id: string } & Partial<Origin>;
  outcome: 'success' | 'failure' | 'denied';
  credentialId: string | null;
  service: string | null;
  subject: string | null;
  eventId: string | null;
  incidentId: string | null;
  /** Stable code of what went wrong, or of why. */
  reason: string | null;
  detail: Record<string, string | number | boolean | null>;
};

/** An entry in its place in the chain: inserted once, never updated. */
export type ChainedEntry = Entry & {
  seq: number;
  /** Hash of the entry before, hex; 64 zeros for the first. */
  prev: string;
  /** SHA-256(prev ‖ JCS(entry with seq)), hex (RFC 8785). */
  hash: string;
  /** HMAC of the hash under the tenant's entry key: who rewrites the whole chain in MongoDB lacks the key. */
  mac: string;
};

export type ChainHead = {
  _id: string;
  tenantId: string;
  seq: number;
  hash: string;
  updatedAt: Date;
  /** When something is to be done about it next: subscribers told, a checkpoint signed. Absent: nothing. */
  dueAt?: Date;
  /** Subscriptions know of the entries up to here. */
  toldSeq?: number;
  /** Since when there are entries that no checkpoint covers. Absent: there are none. */
  unsignedSince?: Date;
  /** When the rules are to look at what was chained; absent once they have. */
  detectAt?: Date;
};
