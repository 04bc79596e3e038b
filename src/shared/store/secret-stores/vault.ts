import { addressOf } from '../../crypto/address.ts';
import type { SealContext, SealedValue, SecretStore, SecretStorePlugin } from '../../crypto/contract.ts';
import { inParallel } from '../../crypto/in-parallel.ts';
import type { VaultReply } from '../../crypto/vault-http.ts';
import { makeVaultServer, type VaultServer } from '../../crypto/vault-server.ts';
import { AppError } from '../../errors.ts';

const NAME = 'vault';
const CALLS_AT_ONCE = 16;

/**
 * Sealed values in a KV v2 engine of Vault or OpenBao (`KEYTURN_VAULT_…`), one path per generation:
 * `<mount>/data/keyturn/<hash of tenant and object>/<generation>`, written with check-and-set 0 ("only if there is none").
 */
export const plugin: SecretStorePlugin = {
  name: NAME,
  create: (config, { clock }) =>
    makeKvStore(makeVaultServer(config, clock, 'store_unavailable'), config.KEYTURN_VAULT_KV_MOUNT),
};

function makeKvStore(server: VaultServer, mount: string): SecretStore {
  const read = async (context: SealContext) => {
    const reply = await server.call('GET', `${mount}/data/${pathOf(context)}`);
    // A value that an operator deleted softly has a 404 as well, with metadata.
    if (reply.status === 404) return null;
    const value = (reply.data.data as { jwe?: unknown } | null | undefined)?.jwe;
    if (reply.status !== 200 || typeof value !== 'string') throw unexpected(reply, 'read');
    return value;
  };

  const write = async (context: SealContext, sealed: SealedValue) => {
    const { tenantId, objectId, generation } = context;
    // The ids are there for the operator; what counts is the header of the JWE.
    const body = { options: { cas: 0 }, data: { jwe: sealed.jwe, tenantId, objectId, generation } };
    const reply = await server.call('POST', `${mount}/data/${pathOf(context)}`, body);
    if (reply.status === 200) return;
    if (reply.status !== 400 || !reply.errors.some((error) => error.includes('check-and-set'))) {
      throw unexpected(reply, 'write');
    }
    if ((await read(context)) !== sealed.jwe) throw new AppError('conflict', { internal: 'that generation is taken' });
  };

  return {
    name: NAME,
    put: (items) =>
      inParallel(items, CALLS_AT_ONCE, async ({ context, sealed }) => {
        await write(context, sealed);
        return { store: NAME, keyVersion: sealed.keyVersion };
      }),
    get: (items) => inParallel(items, CALLS_AT_ONCE, ({ context }) => read(context)),
    async delete(items) {
      await inParallel(items, CALLS_AT_ONCE, async ({ context }) => {
        // Metadata and all versions at once; Vault answers 204 for what is not there too.
        const reply = await server.call('DELETE', `${mount}/metadata/${pathOf(context)}`);
        if (reply.status !== 204) throw unexpected(reply, 'delete');
      });
    },
    async health() {
      const reply = await server.call('GET', `${mount}/config`);
      if (reply.status !== 200) throw unexpected(reply, 'config');
    },
  };
}

function pathOf(context: SealContext): string {
  const { object, generation } = addressOf(context);
  return `keyturn/${object}/${generation}`;
}

function unexpected(reply: VaultReply, call: string): AppError {
  return new AppError('store_unavailable', {
    detail: 'Vault does not answer as it should; check that KEYTURN_VAULT_KV_MOUNT is a KV engine of version 2.',
    internal: `Vault ${reply.status} on ${call}: ${reply.errors.join('; ')}`,
  });
}
