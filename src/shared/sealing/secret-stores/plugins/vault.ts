import { inParallel } from '../../../platform/concurrency/in-parallel.ts';
import { AppError } from '../../../platform/errors.ts';
import type { VaultReply } from '../../hashicorp/http.ts';
import { makeVaultServer, type VaultServer } from '../../hashicorp/server.ts';
import type { SealContext, SealedValue, SecretStore, SecretStorePlugin } from '../contract.ts';
import { addressOf, objectOf, refOf } from '../value-address.ts';

const NAME = 'vault';
const CALLS_AT_ONCE = 16;

/**
 * Sealed values in a KV v2 engine of Vault or OpenBao (`KEYTURN_VAULT_…`), one path per value:
 * `<mount>/data/keyturn/<hash of tenant and object>/<generation>.<ref>`, written with check-and-set 0 ("only if there is none").
 */
export const plugin: SecretStorePlugin = {
  name: NAME,
  create: (config, { clock }) => makeKvStore(makeVaultServer(config, clock, 'store_unavailable'), config.vaultKvMount),
};

function makeKvStore(server: VaultServer, mount: string): SecretStore {
  const read = async (context: SealContext, ref: string | undefined) => {
    const reply = await server.call('GET', `${mount}/data/${pathOf(context, ref)}`);
    // A value that an operator deleted softly has a 404 as well, with metadata.
    if (reply.status === 404) return null;
    const value = (reply.data.data as { jwe?: unknown } | null | undefined)?.jwe;
    if (reply.status !== 200 || typeof value !== 'string') throw unexpected(reply, 'read');
    return value;
  };

  const write = async (context: SealContext, sealed: SealedValue, ref: string) => {
    const { tenantId, objectId, generation } = context;
    // The ids are there for the operator; what counts is the header of the JWE.
    const body = { options: { cas: 0 }, data: { jwe: sealed.jwe, tenantId, objectId, generation } };
    const reply = await server.call('POST', `${mount}/data/${pathOf(context, ref)}`, body);
    if (reply.status === 200) return;
    if (reply.status !== 400 || !reply.errors.some((error) => error.includes('check-and-set'))) {
      throw unexpected(reply, 'write');
    }
    if ((await read(context, ref)) !== sealed.jwe) throw new AppError('conflict', { internal: 'that place is taken' });
  };

  return {
    name: NAME,
    put: (items) =>
      inParallel(items, CALLS_AT_ONCE, async ({ context, sealed }) => {
        const ref = refOf(sealed.jwe);
        await write(context, sealed, ref);
        return { store: NAME, keyVersion: sealed.keyVersion, ref };
      }),
    get: (items) => inParallel(items, CALLS_AT_ONCE, ({ context, stored }) => read(context, stored.ref)),
    async delete(items) {
      await inParallel(items, CALLS_AT_ONCE, ({ context, stored }) =>
        remove(server, mount, pathOf(context, stored.ref)),
      );
    },
    async purge(objects) {
      for (const folder of objects.map((object) => `keyturn/${objectOf(object)}`)) {
        const names = await list(server, mount, folder);
        await inParallel(names, CALLS_AT_ONCE, (name) => remove(server, mount, `${folder}/${name}`));
      }
    },
    async health() {
      const reply = await server.call('GET', `${mount}/config`);
      if (reply.status !== 200) throw unexpected(reply, 'config');
    },
  };
}

/** Metadata and all versions at once; Vault answers 204 for what is not there too. */
async function remove(server: VaultServer, mount: string, path: string): Promise<void> {
  const reply = await server.call('DELETE', `${mount}/metadata/${path}`);
  if (reply.status !== 204) throw unexpected(reply, 'delete');
}

async function list(server: VaultServer, mount: string, folder: string): Promise<string[]> {
  const reply = await server.call('GET', `${mount}/metadata/${folder}/?list=true`);
  // 404: there is no such folder.
  const names = reply.status === 404 ? [] : reply.data.keys;
  if (!Array.isArray(names)) throw unexpected(reply, 'list');
  return names;
}

function pathOf(context: SealContext, ref: string | undefined): string {
  const { object, value } = addressOf(context, ref);
  return `keyturn/${object}/${value}`;
}

function unexpected(reply: VaultReply, call: string): AppError {
  return new AppError('store_unavailable', {
    detail: 'Vault does not answer as it should; check that KEYTURN_VAULT_KV_MOUNT is a KV engine of version 2.',
    internal: `Vault ${reply.status} on ${call}: ${reply.errors.join('; ')}`,
  });
}
