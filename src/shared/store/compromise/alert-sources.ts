/** `alert_sources`: who may report leaks to a tenant. */
import type { StoredSecret } from '../../sealing/secret-stores/contract.ts';
import type { Indexes } from '../base/collection.ts';
import { at, type SealedPlaces } from '../base/sealed-path.ts';

/** A party that may send alerts to a tenant, with the secret that its deliveries are signed with. */
export type AlertSourceDoc = {
  _id: string;
  tenantId: string;
  /** Name of the plug-in in `api/alert-sources/`. */
  source: string;
  name: string;
  /** Sealed, bound to this document, generation 1. */
  secret: StoredSecret;
  createdAt: Date;
  revokedAt: Date | null;
};

export const INDEXES: Indexes = [{ key: { tenantId: 1, _id: 1 } }];

/** Where sealed values lie. */
export const SEALED: SealedPlaces<AlertSourceDoc> = { secret: (doc) => at('secret', doc.secret, doc._id) };
