/** Present in `npm run test:vault` only: a real Vault. `ours`: we started it. */
declare module 'vitest' {
  interface ProvidedContext {
    vaultServer: { address: string; token: string; ours: boolean } | undefined;
  }
}

/** Makes this file a module. */
export type VaultContext = { vaultServer: { address: string; token: string; ours: boolean } | undefined };
