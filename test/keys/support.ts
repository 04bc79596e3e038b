import { requestRotation } from '../../src/shared/keys/rotation/requests.ts';
import type { DataKeyPurpose } from '../../src/shared/sealing/key-providers/contract.ts';
import type { Documents } from '../../src/shared/store/database.ts';
import type { KeyRotationDoc, RotationKind } from '../../src/shared/store/keys/key-rotations.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import {
  SEALED_COLLECTIONS,
  type SealedCollection,
  type SealedPlace,
  sealedValuesOf,
} from '../../src/shared/store/sealed-values.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import type { TestSystem } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';

type Deps = TestSystem['deps'];

/** Settings under which a rotation's pauses are short. */
export const SOON = { KEYTURN_KEY_REFRESH_SECONDS: '0.1', KEYTURN_RESEAL_PER_SECOND: '1000000' };

/** Active credentials of a tenant, due for nothing. */
export function seed(deps: Deps, tenantId: string, count: number, set: Partial<CredentialDoc> = {}, from = 0) {
  return seedCredentials(deps, { count, service: 'acme', tenantId, from, set });
}

/** Asks for a rotation as an operator does. */
export function rotate(deps: Deps, kind: RotationKind, tenantId: string, target: string | null = null) {
  return requestRotation(deps, { kind, tenantId, target, actor: { kind: 'system', id: 'test' } });
}

/** The rotation once `condition` holds; by default, once it is finished. */
export function rotationOf(
  deps: Deps,
  { _id }: Pick<KeyRotationDoc, '_id'>,
  condition: (doc: KeyRotationDoc) => boolean = ({ phase }) => phase === 'finished',
  timeoutMs = 25_000,
): Promise<KeyRotationDoc> {
  return until(
    async () => {
      const doc = await deps.database.collection('key_rotations').findOne({ _id });
      return doc && condition(doc) ? doc : null;
    },
    { what: `the rotation ${_id}`, timeoutMs },
  );
}

/** Every sealed value of a tenant, wherever it lies, with what it opens to; throws when one does not open. */
export async function openAll(deps: Deps, tenantId: string) {
  const found: { name: SealedCollection; place: SealedPlace; plain: string }[] = [];
  for (const name of SEALED_COLLECTIONS) {
    const docs = await deps.database.db.collection(name).find({ tenantId }).toArray();
    for (const doc of docs) {
      for (const place of sealedValuesOf(name, doc as unknown as Documents[typeof name] as never)) {
        const [jwe] = await deps.secrets.get([place]);
        found.push({ name, place, plain: await deps.sealer.open(jwe ?? 'missing', place.context) });
      }
    }
  }
  return found;
}

/** State of every version of a tenant's key. */
export async function versionsOf(deps: Deps, tenantId: string, purpose: DataKeyPurpose) {
  const docs = await deps.database.collection('data_keys').find({ tenantId, purpose }).sort({ version: 1 }).toArray();
  return docs.map(({ version, state }) => `${version} ${state}`);
}

/** One sealed value of every kind, each opening to the name of its place. */
export async function seedEveryKind(deps: Deps, tenantId: string): Promise<void> {
  const sealed = async (plain: string, objectId: string, generation = 1) => ({
    store: 'mongodb',
    ...(await deps.sealer.seal(plain, { tenantId, objectId, generation })),
  });
  const rotation = { id: 'rot_1', generation: 1, attempt: 2 };
  const rows: Record<SealedCollection, object> = {
    credentials: {
      generation: 2,
      secret: await sealed('secret', 'obj', 2),
      rotation: {
        ...rotation,
        pending: await sealed('pending', 'rot_1', 2),
        previous: await sealed('previous', 'obj', 1),
      },
      fence: 0,
      lease: null,
      fingerprints: [],
      service: 'acme',
      subject: 'everything',
    },
    events: { sealed: await sealed('event', 'obj'), source: 's', sourceId: 's', fence: 0, lease: null },
    authorizations: { codeVerifier: await sealed('verifier', 'obj') },
    principals: { signing: await sealed('signing', 'obj'), keyHash: tenantId },
    alert_sources: { secret: await sealed('alert', 'obj') },
    subscriptions: {
      secrets: [
        { sealed: await sealed('new', 'obj', 2), generation: 2, until: null },
        { sealed: await sealed('old', 'obj', 1), generation: 1, until: null },
      ],
      fence: 0,
      lease: null,
    },
    signing_keys: { sealed: await sealed('private', 'obj'), use: `of ${tenantId}`, state: 'published' },
  };
  for (const [name, fields] of Object.entries(rows)) {
    await deps.database.db.collection<{ _id: string }>(name).insertOne({ _id: 'obj', tenantId, ...fields } as never);
  }
}
