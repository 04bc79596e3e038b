/** Turns a provider's plain answer into the one sealed value of a generation, and back. */
import { z } from 'zod';
import { AppError } from '../platform/errors.ts';
import { Secret } from '../platform/secret.ts';
import type { SecretMaterial } from '../providers/contract.ts';
import type { Deps } from '../runtime/deps.ts';
import type { SealContext, StoredSecret } from '../sealing/secret-stores/contract.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';

const FIELDS = ['accessToken', 'refreshToken', 'idToken', 'registrationAccessToken'] as const;

const plainSchema = z.strictObject({
  accessToken: z.string(),
  refreshToken: z.string().optional(),
  idToken: z.string().optional(),
  registrationAccessToken: z.string().optional(),
});

type Owner = Pick<CredentialDoc, '_id' | 'tenantId'>;

/** The secret of a generation is sealed for this: it opens for no other credential or generation. */
export function contextOf(owner: Owner, generation: number): SealContext {
  return { tenantId: owner.tenantId, objectId: owner._id, generation };
}

/** The material as text, for sealing only. */
export function serialize(material: SecretMaterial): string {
  const pairs = FIELDS.map((field) => [field, material[field]?.reveal()] as const);
  return JSON.stringify(Object.fromEntries(pairs.filter(([, value]) => value !== undefined)));
}

/** The inverse of `serialize`. Throws `secret_unreadable`. */
export function deserialize(plain: string): SecretMaterial {
  const parsed = plainSchema.safeParse(JSON.parse(plain));
  if (!parsed.success) throw new AppError('secret_unreadable', { internal: 'not a material' });
  const { accessToken, refreshToken, idToken, registrationAccessToken } = parsed.data;
  return {
    accessToken: new Secret(accessToken),
    ...(refreshToken !== undefined && { refreshToken: new Secret(refreshToken) }),
    ...(idToken !== undefined && { idToken: new Secret(idToken) }),
    ...(registrationAccessToken !== undefined && { registrationAccessToken: new Secret(registrationAccessToken) }),
  };
}

type Opener = Pick<Deps, 'sealer' | 'secrets'>;

/** Opens the present secret of a credential. Throws `credential_pending`, `secret_unreadable`, `store_unavailable`. */
export async function openMaterial(
  deps: Opener,
  doc: Owner & Pick<CredentialDoc, 'secret' | 'generation'>,
): Promise<SecretMaterial> {
  if (!doc.secret) throw new AppError('credential_pending');
  return openStored(deps, doc, doc.secret, doc.generation);
}

/** Opens any generation of a credential's secret, e.g. the pending one of a rotation. */
export async function openStored(
  deps: Opener,
  owner: Owner,
  stored: StoredSecret,
  generation: number,
): Promise<SecretMaterial> {
  const context = contextOf(owner, generation);
  // A value beside its document needs no read: the common case costs no extra call.
  const jwe = stored.jwe ?? (await deps.secrets.get([{ context, stored }]))[0];
  if (!jwe) throw new AppError('secret_unreadable', { internal: `missing in store ${stored.store}` });
  return deserialize(await deps.sealer.open(jwe, context));
}

/** Seals a new generation and stores it. It is durable when this resolves; the credential's document then names it. */
export async function storeMaterial(
  deps: Opener,
  owner: Owner,
  generation: number,
  material: SecretMaterial,
): Promise<StoredSecret> {
  return placeSealed(deps, owner, generation, await sealMaterial(deps, owner, generation, material));
}

/** Seals a new generation for the configured store, which does not have it yet: `placeSealed` puts it there. */
export async function sealMaterial(
  deps: Opener,
  owner: Owner,
  generation: number,
  material: SecretMaterial,
): Promise<StoredSecret> {
  const sealed = await deps.sealer.seal(serialize(material), contextOf(owner, generation));
  return { store: deps.secrets.name, ...sealed };
}

/** Puts a sealed generation into its store. Doing it twice is harmless. Throws `store_unavailable`. */
export async function placeSealed(
  deps: Pick<Deps, 'secrets'>,
  owner: Owner,
  generation: number,
  sealed: StoredSecret,
): Promise<StoredSecret> {
  if (sealed.jwe === undefined) return sealed;
  const item = { context: contextOf(owner, generation), sealed: { jwe: sealed.jwe, keyVersion: sealed.keyVersion } };
  return (await deps.secrets.put([item]))[0]!;
}

/** Keyed fingerprints of the access and the refresh token, in that order. */
export async function fingerprintsOf(
  deps: Pick<Deps, 'sealer'>,
  tenantId: string,
  material: SecretMaterial,
): Promise<string[]> {
  const tokens = [material.accessToken, material.refreshToken].filter((token) => token !== undefined);
  return Promise.all(tokens.map((token) => deps.sealer.fingerprint(tenantId, token.reveal())));
}
