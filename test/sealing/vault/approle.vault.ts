import { beforeAll, describe, expect, inject, test } from 'vitest';
import { systemClock } from '../../../src/shared/platform/clock.ts';
import type { Config } from '../../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../../src/shared/platform/random.ts';
import { Secret } from '../../../src/shared/platform/secret.ts';
import { plugin as keys } from '../../../src/shared/sealing/key-providers/plugins/vault.ts';
import { plugin as secrets } from '../../../src/shared/sealing/secret-stores/plugins/vault.ts';
import { code } from '../support.ts';
import './context.ts';
import { admin } from './raw-call.ts';

/** The least that Keyturn needs, and nothing else. */
const POLICY = `
path "transit-role/keys/keyturn" { capabilities = ["read"] }
path "transit-role/encrypt/keyturn" { capabilities = ["update"] }
path "transit-role/decrypt/keyturn" { capabilities = ["update"] }
path "secret/config" { capabilities = ["read"] }
path "secret/data/keyturn/*" { capabilities = ["create", "read", "update"] }
path "secret/metadata/keyturn/*" { capabilities = ["delete"] }
`;

const server = inject('vaultServer');

// A role is made in the place where roles usually are; on a server of somebody else that is not ours to do.
describe.skipIf(server?.ours !== true)('an AppRole with the least permissions, on a real Vault', () => {
  const ask = (method: string, path: string, body?: object) => admin(server!, method, path, body);
  let config: Config;

  beforeAll(async () => {
    await ask('POST', 'sys/mounts/transit-role', { type: 'transit' });
    await ask('POST', 'transit-role/keys/keyturn', { derived: true });
    await ask('POST', 'sys/policies/acl/keyturn', { policy: POLICY });
    await ask('POST', 'sys/auth/approle', { type: 'approle' });
    // Shorter than the test: its tokens are renewed once, then end for good and are replaced.
    const times = { token_ttl: '2s', token_max_ttl: '4s' };
    await ask('POST', 'auth/approle/role/keyturn', { token_policies: ['keyturn'], ...times });
    const { role_id: roleId } = await ask('GET', 'auth/approle/role/keyturn/role-id');
    const { secret_id: secretId } = await ask('POST', 'auth/approle/role/keyturn/secret-id', {});
    config = {
      vaultAddress: server!.address,
      vaultRoleId: roleId,
      vaultSecretId: new Secret(String(secretId)),
      vaultTransitMount: 'transit-role',
      vaultTransitKey: 'keyturn',
      vaultKvMount: 'secret',
    } as Config;
  });

  const deps = { clock: systemClock, random: systemRandom };
  const context = { tenantId: 'ten_a', purpose: 'seal' as const, version: 1 };

  test('wraps, unwraps, stores, reads and deletes, while its tokens are renewed and end', async () => {
    const [provider, store] = [keys.create(config, deps), secrets.create(config, deps)];
    const plain = systemRandom.bytes(32);
    for (let round = 0; round < 14; round += 1) {
      const wrapped = await provider.wrap(plain, context);
      expect(await provider.unwrap(wrapped, context)).toEqual(plain);
      const at = { tenantId: 'ten_a', objectId: `cred_${round}`, generation: 1 };
      const [stored] = await store.put([{ context: at, sealed: { jwe: 'sealed', keyVersion: 1 } }]);
      expect(await store.get([{ context: at, stored: stored! }])).toEqual(['sealed']);
      await store.delete([{ context: at, stored: stored! }]);
      expect(await store.get([{ context: at, stored: stored! }])).toEqual([null]);
      await systemClock.sleep(500);
    }
    await provider.health();
    await store.health();
  });

  test('may touch no other key', async () => {
    const other = keys.create({ ...config, vaultTransitKey: 'other' }, deps);
    await expect(other.wrap(Buffer.alloc(32), context)).rejects.toEqual(code('key_unavailable'));
  });

  test('with a wrong secret id gets nothing', async () => {
    const wrong = keys.create({ ...config, vaultSecretId: new Secret('wrong') }, deps);
    await expect(wrong.health()).rejects.toEqual(code('key_unavailable'));
  });
});
