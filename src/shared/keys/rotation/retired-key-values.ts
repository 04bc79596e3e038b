/**
 * A value that was sealed long ago and is stored only now: the answer that a dead process left in its journal, taken up
 * after the key that it is sealed under was retired. It must open (promise 4): the key is read again, and a rotation
 * seals the value anew.
 */

import type { Deps } from '../../runtime/deps.ts';
import { dataKeyId } from '../../sealing/data-keys.ts';
import type { ManagedSealer } from '../../sealing/sealer.ts';
import type { SealContext, SealedValue } from '../../sealing/secret-stores/contract.ts';
import type { SecretStores } from '../../sealing/secret-stores/open.ts';
import { reviveDataKey } from '../../store/keys/data-keys.ts';
import { requestRotation } from './requests.ts';

type LateDeps = Pick<Deps, 'database' | 'commit' | 'clock' | 'random' | 'log'> & {
  sealer: Pick<ManagedSealer, 'sealVersion'>;
};

type Item = { context: SealContext; sealed: SealedValue };

/**
 * The stores; a value that is put there under a retired key revives it first. A value under the present key costs nothing more.
 */
export function reviveRetiredKeys(deps: LateDeps, secrets: SecretStores): SecretStores {
  return {
    ...secrets,
    put: async (items) => {
      const late = items.filter(
        ({ context, sealed }) => deps.sealer.sealVersion(context.tenantId) !== sealed.keyVersion,
      );
      for (const item of late) await revive(deps, item);
      return secrets.put(items);
    },
  };
}

async function revive(deps: LateDeps, { context: { tenantId }, sealed: { keyVersion } }: Item): Promise<void> {
  const id = dataKeyId(tenantId, 'seal', keyVersion);
  if (!(await reviveDataKey(deps.database, { tenantId, id }))) return;
  deps.log.warn({ dataKey: id }, 'a value came that is sealed under a retired key: the key is read again');
  await requestRotation(deps, { tenantId, kind: 'data', target: null, actor: { kind: 'system', id: 'late-values' } });
}
