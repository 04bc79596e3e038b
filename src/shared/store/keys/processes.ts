/** `processes`: who runs now, with which keys. */
import type { Indexes } from '../base/collection.ts';

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

export const INDEXES: Indexes = [{ key: { seenAt: 1 }, expireAfterSeconds: 300 }];
