import { type Collection, type Db, MongoClient, type MongoClientOptions } from 'mongodb';
import { AppError } from '../platform/errors.ts';
import type { DataKeyDoc } from '../sealing/contract.ts';
import { type PrincipalDoc, INDEXES as principals } from './access/principals.ts';
import { type RequestIdDoc, INDEXES as requestIds } from './access/request-ids.ts';
import type { TenantDoc } from './access/tenants.ts';
import { type CheckpointDoc, INDEXES as checkpoints } from './audit/checkpoints.ts';
import { type ChainedEntry, INDEXES as entries } from './audit/entries.ts';
import { type ChainHead, INDEXES as heads } from './audit/heads.ts';
import { type Entry, INDEXES as inbox } from './audit/inbox.ts';
import type { Indexes } from './base/collection.ts';
import { type AlertSourceDoc, INDEXES as alertSources } from './compromise/alert-sources.ts';
import type { DetectCursorDoc } from './compromise/detect-cursors.ts';
import { type IncidentDoc, INDEXES as incidents } from './compromise/incidents.ts';
import { type RevocationBudgetDoc, INDEXES as revocationBudgets } from './compromise/revocation-budgets.ts';
import { type DeliveryDoc, INDEXES as deliveries } from './delivery/deliveries.ts';
import { type SubscriptionDoc, INDEXES as subscriptions } from './delivery/subscriptions.ts';
import { INDEXES as dataKeys } from './keys/data-keys.ts';
import { type KeyRotationDoc, INDEXES as keyRotations } from './keys/key-rotations.ts';
import { type ProcessDoc, INDEXES as processes } from './keys/processes.ts';
import { type SigningKeyDoc, INDEXES as signingKeys } from './keys/signing-keys.ts';
import { type AuthorizationDoc, INDEXES as authorizations } from './lifecycle/authorizations.ts';
import { type CredentialDoc, INDEXES as credentials } from './lifecycle/credentials.ts';
import { type EventDoc, INDEXES as events } from './lifecycle/events.ts';

/** Collection name → document type. */
export type Documents = {
  tenants: TenantDoc;
  principals: PrincipalDoc;
  request_ids: RequestIdDoc;
  credentials: CredentialDoc;
  events: EventDoc;
  authorizations: AuthorizationDoc;
  audit_inbox: Entry;
  audit: ChainedEntry;
  audit_heads: ChainHead;
  checkpoints: CheckpointDoc;
  subscriptions: SubscriptionDoc;
  deliveries: DeliveryDoc;
  alert_sources: AlertSourceDoc;
  incidents: IncidentDoc;
  revocation_budgets: RevocationBudgetDoc;
  detect_cursors: DetectCursorDoc;
  signing_keys: SigningKeyDoc;
  key_rotations: KeyRotationDoc;
  processes: ProcessDoc;
  data_keys: DataKeyDoc;
};

export type CollectionName = keyof Documents;

export type Database = {
  readonly client: MongoClient;
  readonly db: Db;
  collection<N extends CollectionName>(name: N): Collection<Documents[N]>;
  close(): Promise<void>;
};

/** The indexes of every collection, each with what it is for at its place. */
const INDEXES: Partial<Record<CollectionName, Indexes>> = {
  principals,
  request_ids: requestIds,
  credentials,
  events,
  authorizations,
  data_keys: dataKeys,
  audit_inbox: inbox,
  audit: entries,
  audit_heads: heads,
  alert_sources: alertSources,
  incidents,
  revocation_budgets: revocationBudgets,
  checkpoints,
  subscriptions,
  deliveries,
  key_rotations: keyRotations,
  processes,
  signing_keys: signingKeys,
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
