/** The call of a rotator: the secrets of a rotation, opened in memory for one step. */

import { openMaterial, openStored } from '../../keys/material.ts';
import { AppError } from '../../platform/errors.ts';
import { type CredentialDoc, findUsableCredential, type RotationDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { HeldSecret, RotationCall, Rotator } from './rotators/contract.ts';

/** A credential with a rotation under way. */
export type Rotating = CredentialDoc & { rotation: RotationDoc };

/** The input of a step beside the credential. */
export type StepContext = {
  rotator: Rotator;
  /** Whether the lease is young enough to call the other side. */
  isFresh(id: string): boolean;
  signal: AbortSignal;
};

type Opener = Pick<WorkerDeps, 'sealer' | 'secrets'>;

/** Pending secrets are sealed for the rotation, not for the credential: an import meanwhile takes no place of theirs. */
export function pendingOwner(doc: Rotating) {
  return { _id: doc.rotation.id, tenantId: doc.tenantId };
}

/** Throws `secret_unreadable`, `key_unavailable`, `store_unavailable`, and `provider_misconfigured` for the admin credential. */
export async function makeCall(deps: WorkerDeps, doc: CredentialDoc, signal: AbortSignal): Promise<RotationCall> {
  return {
    credential: doc,
    current: doc.secret && { material: await openMaterial(deps, doc), metadata: doc.metadata },
    admin: await openAdmin(deps, doc),
    random: deps.random,
    clock: deps.clock,
    timeoutMs: deps.config.callTimeoutMs,
    signal,
  };
}

/** Only of the same tenant and service: a caller that may import there holds no right elsewhere. */
async function openAdmin(deps: WorkerDeps, doc: CredentialDoc): Promise<HeldSecret | null> {
  const { admin_credential_id: id } = doc.metadata;
  if (id === undefined) return null;
  if (id === doc._id) return doc.secret && { material: await openMaterial(deps, doc), metadata: doc.metadata };
  const { tenantId, service } = doc;
  const admin = await findUsableCredential(deps.database, { tenantId, service, id });
  if (admin) return { material: await openMaterial(deps, admin), metadata: admin.metadata };
  throw new AppError('provider_misconfigured', {
    detail: 'The "admin_credential_id" names no active credential of the same service.',
  });
}

/** The new secret. Throws as `makeCall`. */
export async function openPending(deps: Opener, doc: Rotating): Promise<HeldSecret> {
  const { pending, attempt, metadata } = doc.rotation;
  if (!pending) throw new AppError('secret_unreadable', { internal: 'the rotation has no pending secret' });
  const material = await openStored(deps, pendingOwner(doc), pending, attempt);
  return { material, metadata: { ...doc.metadata, ...metadata } };
}

/** The old secret. Throws as `makeCall`. */
export async function openPrevious(deps: Opener, doc: Rotating): Promise<HeldSecret> {
  const { previous, generation, previousMetadata } = doc.rotation;
  if (!previous) throw new AppError('secret_unreadable', { internal: 'the rotation has no previous secret' });
  return { material: await openStored(deps, doc, previous, generation), metadata: previousMetadata };
}
