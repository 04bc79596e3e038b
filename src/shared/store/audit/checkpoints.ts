/** `checkpoints`: signed heads. Insert only. */
import type { Indexes } from '../base/collection.ts';

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

export const INDEXES: Indexes = [{ key: { tenantId: 1, seq: 1 }, unique: true }];
