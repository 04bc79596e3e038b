import { type Collection, type Db, type IndexDescription, MongoClient, type MongoClientOptions } from 'mongodb';
import { AppError } from '../platform/errors.ts';
import type { DataKeyDoc } from '../sealing/contract.ts';
import type {
  AuthorizationDoc,
  ChainedEntry,
  ChainHead,
  CredentialDoc,
  Entry,
  EventDoc,
  PrincipalDoc,
  RequestIdDoc,
  TenantDoc,
} from './documents.ts';
import type { AlertSourceDoc, DetectCursorDoc, IncidentDoc, RevocationBudgetDoc } from './incident-documents.ts';
import type { KeyRotationDoc, ProcessDoc } from './key-documents.ts';
import type { CheckpointDoc, DeliveryDoc, SigningKeyDoc, SubscriptionDoc } from './subscription-documents.ts';

/** Collection name → document type. */
export type Documents = {
  tenants: TenantDoc;
  principals: PrincipalDoc;
  request_ids: RequestIdDoc;
  credentials: CredentialDoc;
  events: EventDoc;
  authorizations: AuthorizationDoc;
  data_keys: DataKeyDoc;
  /** Entries committed with their change, waiting to be chained. */
  audit_inbox: Entry;
  /** The chained log. Insert only. */
  audit: ChainedEntry;
  audit_heads: ChainHead;
  /** Signed heads. Insert only. */
  checkpoints: CheckpointDoc;
  subscriptions: SubscriptionDoc;
  deliveries: DeliveryDoc;
  signing_keys: SigningKeyDoc;
  alert_sources: AlertSourceDoc;
  incidents: IncidentDoc;
  revocation_budgets: RevocationBudgetDoc;
  detect_cursors: DetectCursorDoc;
  key_rotations: KeyRotationDoc;
  processes: ProcessDoc;
};

export type CollectionName = keyof Documents;

export type Database = {
  readonly client: MongoClient;
  readonly db: Db;
  collection<N extends CollectionName>(name: N): Collection<Documents[N]>;
  close(): Promise<void>;
};

const exists = (field: string) => ({ partialFilterExpression: { [field]: { $exists: true } } });

/** Every index, with what it is for. Indexes on due dates are partial: what is idle is not in them and costs nothing. */
const INDEXES: Partial<Record<CollectionName, (IndexDescription & { key: Record<string, 1 | -1> })[]>> = {
  principals: [{ key: { keyHash: 1 }, unique: true }, { key: { tenantId: 1, _id: 1 } }],
  request_ids: [{ key: { expiresAt: 1 }, expireAfterSeconds: 0 }],
  credentials: [
    {
      key: { tenantId: 1, service: 1, subject: 1 },
      unique: true,
      partialFilterExpression: {
        state: { $in: ['pending', 'active', 'reauthorization_required', 'quarantined', 'expired', 'revoked'] },
      },
    },
    { key: { tenantId: 1, _id: 1 } },
    { key: { 'due.refresh': 1 }, ...exists('due.refresh') },
    { key: { 'due.rotate': 1 }, ...exists('due.rotate') },
    { key: { 'due.expire': 1 }, ...exists('due.expire') },
    { key: { 'due.validate': 1 }, ...exists('due.validate') },
    { key: { fingerprints: 1 } },
    { key: { tenantId: 1, 'secret.keyVersion': 1 } },
  ],
  events: [
    { key: { tenantId: 1, source: 1, sourceId: 1 }, unique: true },
    { key: { dueAt: 1 }, ...exists('dueAt') },
    { key: { tenantId: 1, status: 1, _id: 1 } },
    { key: { tenantId: 1, _id: 1 } },
  ],
  authorizations: [{ key: { expiresAt: 1 }, expireAfterSeconds: 3600 }],
  data_keys: [{ key: { tenantId: 1, purpose: 1, version: -1 } }, { key: { 'wrapped.keyId': 1 } }],
  audit_inbox: [{ key: { tenantId: 1, _id: 1 } }],
  audit: [
    { key: { tenantId: 1, seq: 1 }, unique: true },
    { key: { tenantId: 1, credentialId: 1, seq: 1 } },
    { key: { tenantId: 1, type: 1, seq: 1 } },
    // What one principal did: rules and `GET /v1/audit?principal=` ask for it.
    { key: { tenantId: 1, 'actor.id': 1, seq: 1 } },
  ],
  audit_heads: [
    { key: { dueAt: 1 }, ...exists('dueAt') },
    { key: { detectAt: 1 }, ...exists('detectAt') },
  ],
  alert_sources: [{ key: { tenantId: 1, _id: 1 } }],
  incidents: [
    { key: { tenantId: 1, _id: 1 } },
    // One open case for one thing.
    { key: { tenantId: 1, key: 1 }, unique: true, ...exists('key') },
    { key: { tenantId: 1, credentialId: 1, _id: 1 } },
    { key: { dueAt: 1 }, ...exists('dueAt') },
    { key: { fingerprints: 1 }, ...exists('fingerprints') },
  ],
  revocation_budgets: [{ key: { expiresAt: 1 }, expireAfterSeconds: 0 }],
  checkpoints: [{ key: { tenantId: 1, seq: 1 }, unique: true }],
  subscriptions: [{ key: { tenantId: 1, _id: 1 } }, { key: { dueAt: 1 }, ...exists('dueAt') }],
  deliveries: [
    { key: { tenantId: 1, subscriptionId: 1, seq: 1 }, unique: true },
    { key: { subscriptionId: 1, nextAttemptAt: 1 }, ...exists('nextAttemptAt') },
    { key: { expireAt: 1 }, expireAfterSeconds: 0 },
  ],
  key_rotations: [
    { key: { tenantId: 1, kind: 1 }, unique: true, ...exists('open') },
    { key: { dueAt: 1 }, ...exists('dueAt') },
  ],
  processes: [{ key: { seenAt: 1 }, expireAfterSeconds: 300 }],
  signing_keys: [{ key: { use: 1 }, unique: true, partialFilterExpression: { state: 'active' } }],
};

/**
 * Connects to a replica set and makes the indexes. Majority writes and reads of our own writes throughout.
 * Throws `store_unavailable`, or `config_invalid` for a server that is no replica set.
 */
export async function openDatabase(uri: string, name: string, options: MongoClientOptions = {}): Promise<Database> {
  const client = new MongoClient(uri, {
    appName: 'keyturn',
    writeConcern: { w: 'majority' },
    readConcernLevel: 'majority',
    serverSelectionTimeoutMS: 5_000,
    connectTimeoutMS: 5_000,
    socketTimeoutMS: 30_000,
    maxPoolSize: 32,
    ignoreUndefined: true,
    ...options,
  });
  const db = client.db(name);
  const database: Database = {
    client,
    db,
    collection: (collection) => db.collection(collection),
    close: () => client.close(),
  };
  try {
    await client.connect();
    const hello = await db.admin().command({ hello: 1 });
    if (!hello.setName && hello.msg !== 'isdbgrid') throw notReplicated();
    await ensureIndexes(database);
  } catch (cause) {
    await client.close();
    if (cause instanceof AppError) throw cause;
    throw new AppError('store_unavailable', { cause, detail: 'MongoDB does not answer; check MONGODB_URI.' });
  }
  return database;
}

function notReplicated(): AppError {
  return new AppError('config_invalid', {
    detail: 'MONGODB_URI names a server that is not a replica set; start mongod with --replSet and run rs.initiate().',
  });
}

async function ensureIndexes(database: Database): Promise<void> {
  for (const [name, indexes] of Object.entries(INDEXES)) {
    await database.collection(name as CollectionName).createIndexes(indexes);
  }
}
