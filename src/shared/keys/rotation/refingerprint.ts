/** Fingerprints tokens anew under the new fingerprint key: what a rotation of that key moves. */

import { AppError, toAppError } from '../../platform/errors.ts';
import { fingerprintsUnder } from '../../store/base/document.ts';
import type { KeyRotationDoc } from '../../store/keys/key-rotations.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import { replaceFingerprints } from '../../store/lifecycle/credentials-keys.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { fingerprintsOf, openMaterial } from '../material.ts';
import type { GroupResult } from './reseal-values.ts';

type FingerprintDeps = Pick<WorkerDeps, 'database' | 'sealer' | 'secrets'>;

/**
 * Gives credentials fingerprints of their present tokens under the newest key; those of the tokens before stay. One that does
 * not open does not stop the others.
 */
export async function refingerprint(
  deps: FingerprintDeps,
  rotation: KeyRotationDoc,
  docs: CredentialDoc[],
): Promise<GroupResult> {
  let problem: AppError | null = null;
  const changes = await Promise.all(
    docs.map(async (read) => {
      try {
        return [{ read, fingerprints: await freshFingerprints(deps, rotation, read) }];
      } catch (thrown) {
        const error = toAppError(thrown);
        if (error.code !== 'secret_unreadable') throw error;
        problem = error;
        return [];
      }
    }),
  );
  return { moved: await replaceFingerprints(deps.database, changes.flat()), problem };
}

async function freshFingerprints(
  deps: FingerprintDeps,
  { version }: KeyRotationDoc,
  doc: CredentialDoc,
): Promise<string[]> {
  const material = await openMaterial(deps, doc);
  const present = await fingerprintsOf(deps, doc.tenantId, material);
  const isNew = fingerprintsUnder(version!);
  if (!present.every((one) => isNew.test(one))) {
    throw new AppError('interrupted', { internal: 'an old fingerprint key' });
  }
  const tokens = [material.accessToken, material.refreshToken].filter((token) => token !== undefined);
  const known = await Promise.all(tokens.map((token) => deps.sealer.fingerprints(doc.tenantId, token.reveal())));
  const past = doc.fingerprints.filter((one) => !known.flat().includes(one));
  return [...present, ...past];
}
