/** `processes`: who runs now, with which keys. */
import { SYSTEM_TENANT_ID } from '../access/tenants.ts';
import type { HasDb, Indexes } from '../base/collection.ts';

/** A process that runs now; what it cannot open must not be used anywhere. */
export type ProcessDoc = {
  _id: string;
  /** `system`: processes belong to no tenant. */
  tenantId: string;
  host: string;
  pid: number;
  /** Key provider and the root keys that the process itself holds; null where the provider holds them for all. */
  keyProvider: string;
  keyIds: string[] | null;
  /** Where it puts new secrets. */
  secretStore: string;
  startedAt: Date;
  /** By the server's clock. */
  seenAt: Date;
};

// MongoDB drops by it what has not been seen for long.
export const INDEXES: Indexes = [{ key: { seenAt: 1 }, expireAfterSeconds: 300 }];

/** A process that gave no sign of life for this long counts as gone. */
export const SILENT_MS = 30_000;

const processes = ({ db }: HasDb) => db.collection<ProcessDoc>('processes');

/** Notes that a process runs, now by the server's clock. */
export async function saveSignOfLife(
  database: HasDb,
  { _id, tenantId, ...fields }: Omit<ProcessDoc, 'seenAt'>,
): Promise<void> {
  await processes(database).updateOne({ _id, tenantId }, [{ $set: { ...fields, seenAt: '$$NOW' } }], { upsert: true });
}

/** The processes that run, in the order in which they were started. */
export function listLiveProcesses(database: HasDb): Promise<ProcessDoc[]> {
  return processes(database)
    .find({ tenantId: SYSTEM_TENANT_ID, $expr: { $gt: ['$seenAt', { $subtract: ['$$NOW', SILENT_MS] }] } })
    .sort({ _id: 1 })
    .toArray();
}

/** Forgets a process that has ended. */
export async function deleteProcess(database: HasDb, id: string): Promise<void> {
  await processes(database).deleteOne({ _id: id, tenantId: SYSTEM_TENANT_ID });
}
