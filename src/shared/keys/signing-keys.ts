/**
 * Key pairs of ours: RS256 for security event tokens (CAEP interoperability asks for it), Ed25519 for checkpoints (signed notes
 * ask for it), and one that others encrypt to, for the intake queue. The private half lies sealed in MongoDB; the public half is
 * published, also after the key was replaced: what it signed stays checkable, and what was encrypted to it opens.
 */

import { createPrivateKey, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { SYSTEM_TENANT_ID } from '../store/access/tenants.ts';
import { makeEntry } from '../store/entry.ts';
import {
  findActiveSigningKey,
  findSigningKey,
  listSigningKeys,
  type SigningKeyDoc,
  type SigningUse,
} from '../store/keys/signing-keys.ts';

/** They belong to no tenant: the system's data key seals them, and its log has their entries. */
const ALGORITHMS = { checkpoint: 'Ed25519', set: 'RS256', intake: 'ECDH-ES+A256KW' } as const satisfies Record<
  SigningUse,
  SigningKeyDoc['alg']
>;

const RSA_BITS = 2048;

type KeyDeps = Pick<Deps, 'database' | 'sealer' | 'commit' | 'clock' | 'random'>;

/** A key to sign with. */
export type SigningKey = { kid: string; alg: SigningKeyDoc['alg']; key: KeyObject; publicJwk: Record<string, string> };

/** The key that signs now; the first is made when there is none. Throws `key_unavailable`, `store_unavailable`. */
export async function signingKey(deps: KeyDeps, use: SigningUse): Promise<SigningKey> {
  const doc = (await findActiveSigningKey(deps.database, use)) ?? (await makeFirst(deps, use));
  return { kid: doc._id, alg: doc.alg, key: await privateKey(deps, doc), publicJwk: doc.publicJwk };
}

async function privateKey({ sealer }: Pick<Deps, 'sealer'>, doc: SigningKeyDoc): Promise<KeyObject> {
  const context = { tenantId: SYSTEM_TENANT_ID, objectId: doc._id, generation: 1 };
  const jwk = JSON.parse(await sealer.open(doc.sealed.jwe as string, context));
  return createPrivateKey({ key: jwk, format: 'jwk' });
}

/** Opens values that were encrypted to a key of ours, also to one that was replaced; null when there is none of that id. */
export async function decryptionKey(deps: Pick<Deps, 'database' | 'sealer'>, kid: string): Promise<KeyObject | null> {
  const doc = await findSigningKey(deps.database, { id: kid, use: 'intake' });
  return doc && privateKey(deps, doc);
}

/** Puts a new key in the place of the one that signs. The old one stays published. */
export async function rotateSigningKey(deps: KeyDeps, use: SigningUse): Promise<void> {
  const old = await findActiveSigningKey(deps.database, use);
  if (!old) return void (await makeFirst(deps, use));
  const outcome = await commitKey(deps, await generate(deps, use), old);
  if (outcome !== 'committed') throw new AppError('conflict');
}

/** Public halves of all keys, newest first, as a JWK set (RFC 7517). */
export async function publicKeys(deps: Pick<Deps, 'database'>): Promise<{ keys: Record<string, string>[] }> {
  const docs = await listSigningKeys(deps.database);
  return {
    keys: docs.map((doc) => ({
      ...doc.publicJwk,
      kid: doc._id,
      alg: doc.alg,
      use: doc.use === 'intake' ? 'enc' : 'sig',
    })),
  };
}

/** Two processes may make the first key at once; the index on the active key lets one win. */
async function makeFirst(deps: KeyDeps, use: SigningUse): Promise<SigningKeyDoc> {
  const made = await generate(deps, use);
  if ((await commitKey(deps, made, null)) === 'committed') return made;
  const other = await findActiveSigningKey(deps.database, use);
  if (!other) throw new AppError('conflict');
  return other;
}

async function generate(deps: KeyDeps, use: SigningUse): Promise<SigningKeyDoc> {
  const alg = ALGORITHMS[use];
  const pair = await generateKeyPair(alg, {
    extractable: true,
    ...(alg === 'RS256' && { modulusLength: RSA_BITS }),
    ...(alg === 'ECDH-ES+A256KW' && { crv: 'P-256' }),
  });
  const publicJwk = (await exportJWK(pair.publicKey)) as Record<string, string>;
  const _id = await calculateJwkThumbprint(publicJwk);
  const context = { tenantId: SYSTEM_TENANT_ID, objectId: _id, generation: 1 };
  const { jwe, keyVersion } = await deps.sealer.seal(JSON.stringify(await exportJWK(pair.privateKey)), context);
  return {
    _id,
    tenantId: SYSTEM_TENANT_ID,
    use,
    alg,
    publicJwk,
    sealed: { store: 'mongodb', keyVersion, jwe },
    state: 'active',
    createdAt: new Date(deps.clock.now()),
  };
}

function commitKey(deps: KeyDeps, made: SigningKeyDoc, old: SigningKeyDoc | null) {
  const retire = old && {
    in: 'signing_keys' as const,
    update: { _id: old._id, tenantId: SYSTEM_TENANT_ID, state: 'active' },
    set: { $set: { state: 'published' } },
  };
  return deps.commit({
    operations: [...(retire ? [retire] : []), { in: 'signing_keys', insert: made }],
    entries: [
      makeEntry(deps, {
        tenantId: SYSTEM_TENANT_ID,
        type: old ? 'signing_key.rotated' : 'signing_key.created',
        actor: { kind: 'system', id: 'signing-keys' },
        detail: { use: made.use, kid: made._id, replaces: old?._id ?? null },
      }),
    ],
  });
}
