/** `credentials`: one secret each, with its life. */
import type { ErrorCode } from '../../platform/errors.ts';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import { type Indexes, whenPresent } from '../base/collection.ts';
import type { Leased } from '../base/document.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

export const CREDENTIAL_STATES = [
  'pending',
  'active',
  'reauthorization_required',
  'quarantined',
  'expired',
  'revoked',
  'destroyed',
] as const;

export type CredentialState = (typeof CREDENTIAL_STATES)[number];

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

export const INDEXES: Indexes = [
  // One credential for one subject at one service, until it is destroyed.
  {
    key: { tenantId: 1, service: 1, subject: 1 },
    unique: true,
    partialFilterExpression: {
      state: { $in: ['pending', 'active', 'reauthorization_required', 'quarantined', 'expired', 'revoked'] },
    },
  },
  // The list of a tenant's credentials.
  { key: { tenantId: 1, _id: 1 } },
  // The sweep.
  { key: { 'due.refresh': 1 }, ...whenPresent('due.refresh') },
  { key: { 'due.rotate': 1 }, ...whenPresent('due.rotate') },
  { key: { 'due.expire': 1 }, ...whenPresent('due.expire') },
  { key: { 'due.validate': 1 }, ...whenPresent('due.validate') },
  // Whose a leaked token is.
  { key: { fingerprints: 1 } },
  // What a rotation of keys has to seal anew.
  { key: { tenantId: 1, 'secret.keyVersion': 1 } },
];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<CredentialDoc> = {
  secret: (doc) => at('secret', doc.secret, doc._id, doc.generation),
  'rotation.pending': ({ rotation }) =>
    rotation ? at('rotation.pending', rotation.pending, rotation.id, rotation.attempt) : [],
  'rotation.previous': ({ _id, rotation }) =>
    rotation ? at('rotation.previous', rotation.previous, _id, rotation.generation) : [],
};
