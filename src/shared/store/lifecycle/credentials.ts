/** `credentials`: one secret each, with its life. */
import type { ErrorCode } from '../../platform/errors.ts';
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import { type HasDb, type Indexes, whenPresent } from '../base/collection.ts';
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

/** When something is to be done with a credential next. Absent: nothing. Each has an index; see `credentials-due.ts`. */
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
  /** Work that the sweep has handed to a worker and nobody has settled yet, with the dates at which it was due. */
  claimed: Due;
  /** Failures in a row; 0 after a success. */
  failures: number;
  lastError: { code: ErrorCode; at: Date } | null;
  /** Why release is refused and no person may restore it: an incident or a revocation that holds it. `at`: since when. */
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
  /** These become the credential's metadata and expiry together with `pending`. Never a secret. */
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
  // The credential that a leaked token is of.
  { key: { fingerprints: 1 } },
  // Secrets under an old version of the data key, for a rotation of keys.
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

const credentials = ({ db }: HasDb) => db.collection<CredentialDoc>('credentials');

/** One credential; null where the tenant has none of that id. */
export function findCredential(
  database: HasDb,
  { tenantId, id }: { tenantId: string; id: string },
): Promise<CredentialDoc | null> {
  return credentials(database).findOne({ _id: id, tenantId });
}

/**
 * One credential. Without a tenant: the id is from the journal of a dead process, which keeps ids only; what is written then
 * names the tenant of the document.
 */
export function findCredentialById(database: HasDb, id: string): Promise<CredentialDoc | null> {
  return credentials(database).findOne({ _id: id });
}

/** Those of `ids` that exist, in one read. Without a tenant: a job's payload spans tenants. */
export async function findCredentialsById(database: HasDb, ids: string[]): Promise<CredentialDoc[]> {
  if (ids.length === 0) return [];
  return credentials(database)
    .find({ _id: { $in: ids } })
    .toArray();
}

/** The one credential of a subject at a service that is not destroyed, by the unique index; null where there is none. */
export function findLivingCredential(
  database: HasDb,
  { tenantId, service, subject }: Pick<CredentialDoc, 'tenantId' | 'service' | 'subject'>,
): Promise<CredentialDoc | null> {
  return credentials(database).findOne({ tenantId, service, subject, state: { $ne: 'destroyed' } });
}

/** A credential of that very service that is active and not blocked: another service's secret is never lent. */
export function findUsableCredential(
  database: HasDb,
  { tenantId, service, id }: { tenantId: string; service: string; id: string },
): Promise<CredentialDoc | null> {
  return credentials(database).findOne({ _id: id, tenantId, service, state: 'active', blocked: null });
}

/** A credential as it is now, while the lease under which `held` was read lasts; null once somebody else has it. */
export function findHeldCredential(
  database: HasDb,
  { _id, tenantId, fence }: Pick<CredentialDoc, '_id' | 'tenantId' | 'fence'>,
): Promise<CredentialDoc | null> {
  return credentials(database).findOne({ _id, tenantId, fence });
}

/** The `$set` of some fields of a rotation under way. The others stay as they are. */
export function rotationFields(fields: Partial<RotationDoc>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [`rotation.${name}`, value]));
}
