import { AppError } from '../../../platform/errors.ts';
import type { VaultReply } from '../../hashicorp/http.ts';
import { makeVaultServer, type VaultServer } from '../../hashicorp/server.ts';
import type { KeyProvider, KeyProviderPlugin, WrapContext } from '../contract.ts';

/** The properties of a transit key that its use depends on. */
type TransitKey = { derived: boolean; latestVersion: number };

/** Ciphers that authenticate associated data; others cannot bind a data key to its tenant. */
const BINDING_TYPES = new Set(['aes128-gcm96', 'aes256-gcm96', 'chacha20-poly1305', 'xchacha20-poly1305']);

/**
 * A root key in the transit engine of Vault or OpenBao (`KEYTURN_VAULT_…`); it never leaves there. Data keys are bound to
 * tenant, purpose and version by associated data, and by context derivation where the key was made with `derived=true`.
 */
export const plugin: KeyProviderPlugin = {
  name: 'vault',
  create(config, { clock }) {
    const server = makeVaultServer(config, clock, 'key_unavailable');
    return makeTransit(server, config.vaultTransitMount, config.vaultTransitKey);
  },
};

function makeTransit(server: VaultServer, mount: string, name: string): KeyProvider {
  const prefix = `vault:${mount}/${name}:v`;
  let derived: Promise<boolean> | undefined;

  /** A key is derived or not for all its life, so one look is enough. */
  async function bindingOf(context: WrapContext) {
    derived ??= readKey(server, mount, name).then((key) => key.derived);
    const isDerived = await derived.catch((error) => {
      derived = undefined;
      throw error;
    });
    const bytes = contextBytes(context);
    return { associated_data: bytes, ...(isDerived && { context: bytes }) };
  }

  return {
    name: 'vault',
    currentKeyId: async () => `${prefix}${(await readKey(server, mount, name)).latestVersion}`,
    health: async () => void (await readKey(server, mount, name)),

    async wrap(plain, context) {
      const body = { plaintext: plain.toString('base64'), ...(await bindingOf(context)) };
      const reply = await server.call('POST', `${mount}/encrypt/${name}`, body);
      const { ciphertext } = reply.data;
      const version = typeof ciphertext === 'string' ? versionOf(ciphertext) : undefined;
      if (reply.status !== 200 || version === undefined) throw unexpected(reply, 'encrypt');
      return { keyId: `${prefix}${version}`, ciphertext: ciphertext as string };
    },

    async unwrap(wrapped, context) {
      if (wrapped.keyId !== `${prefix}${versionOf(wrapped.ciphertext)}`) {
        throw new AppError('secret_unreadable', { internal: `wrapped by ${wrapped.keyId}, not by ${prefix}…` });
      }
      const body = { ciphertext: wrapped.ciphertext, ...(await bindingOf(context)) };
      const reply = await server.call('POST', `${mount}/decrypt/${name}`, body);
      if (reply.status === 400) {
        throw new AppError('secret_unreadable', { internal: `Vault: ${reply.errors.join('; ')}` });
      }
      if (reply.status !== 200 || typeof reply.data.plaintext !== 'string') throw unexpected(reply, 'decrypt');
      return Buffer.from(reply.data.plaintext, 'base64');
    },
  };
}

/** Throws `config_invalid` when the key is not there or cannot bind. */
async function readKey(server: VaultServer, mount: string, name: string): Promise<TransitKey> {
  const reply = await server.call('GET', `${mount}/keys/${name}`);
  if (reply.status === 404) {
    const make = `vault write -f ${mount}/keys/${name} derived=true`;
    throw new AppError('config_invalid', { detail: `Vault has no transit key ${mount}/${name}. Make it: ${make}` });
  }
  const { type, derived, latest_version: latestVersion } = reply.data;
  if (reply.status !== 200 || typeof latestVersion !== 'number') throw unexpected(reply, 'keys');
  if (typeof type !== 'string' || !BINDING_TYPES.has(type)) {
    throw new AppError('config_invalid', {
      detail: `The transit key ${mount}/${name} is of type ${type}, which cannot bind a data key to its tenant; use aes256-gcm96.`,
    });
  }
  return { derived: derived === true, latestVersion };
}

function versionOf(ciphertext: string): number | undefined {
  const version = /^vault:v(\d+):/.exec(ciphertext)?.[1];
  return version === undefined ? undefined : Number(version);
}

/** Purpose and version have no colon in them, so that no two contexts give the same bytes. */
function contextBytes({ tenantId, purpose, version }: WrapContext): string {
  return Buffer.from(`keyturn:${tenantId}:${purpose}:${version}`).toString('base64');
}

function unexpected(reply: VaultReply, call: string): AppError {
  return new AppError('key_unavailable', {
    detail: 'Vault does not answer as it should; check KEYTURN_VAULT_TRANSIT_MOUNT and KEYTURN_VAULT_TRANSIT_KEY.',
    internal: `Vault ${reply.status} on ${call}: ${reply.errors.join('; ')}`,
  });
}
