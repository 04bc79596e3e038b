/** `checkpoints`: signed heads. Insert only. */
import type { HasDb, Indexes } from '../base/collection.ts';

/** A signed head of a tenant's log. `_id` is `<tenantId>:<seq>`. */
export type CheckpointDoc = {
  _id: string;
  tenantId: string;
  seq: number;
  /** Of the entry with that `seq`, hex. */
  hash: string;
  /** C2SP signed note. */
  note: string;
  /** Of the signing key. */
  kid: string;
  at: Date;
};

// The checkpoints of a tenant in their order, and the newest.
export const INDEXES: Indexes = [{ key: { tenantId: 1, seq: 1 }, unique: true }];

const checkpoints = ({ db }: HasDb) => db.collection<CheckpointDoc>('checkpoints');

/** The newest checkpoint of a tenant; null when there is none. */
export function findLatestCheckpoint(database: HasDb, tenantId: string): Promise<CheckpointDoc | null> {
  return checkpoints(database).findOne({ tenantId }, { sort: { seq: -1 } });
}

/** All checkpoints of a tenant, oldest first. */
export function listCheckpoints(database: HasDb, tenantId: string): Promise<CheckpointDoc[]> {
  return checkpoints(database).find({ tenantId }).sort({ seq: 1 }).toArray();
}
