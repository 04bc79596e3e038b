import type { SecretStorePlugin } from '../contract.ts';

const NAME = 'mongodb';

/**
 * Keeps the JWE in the credential's own document, so that it commits in the same write as the metadata and the entry:
 * `put` hands it back to be stored there, and there is nothing to delete.
 */
export const plugin: SecretStorePlugin = {
  name: NAME,
  create: () => ({
    name: NAME,
    put: async (items) => items.map(({ sealed }) => ({ store: NAME, keyVersion: sealed.keyVersion, jwe: sealed.jwe })),
    get: async (items) => items.map(({ stored }) => stored.jwe ?? null),
    delete: async () => {},
    purge: async () => {},
    health: async () => {},
  }),
};
