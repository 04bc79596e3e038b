import type { TestProject } from 'vitest/node';
import { findVault } from './binary.ts';
import './context.ts';
import { startDevVault } from './real-server.ts';

/** The Vault of VAULT_ADDR and VAULT_TOKEN, else a dev server of our own on loopback. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { VAULT_ADDR: address, VAULT_TOKEN: token } = process.env;
  if (address && token) {
    project.provide('vaultServer', { address, token, ours: false });
    return async () => {};
  }
  const binary = await findVault(process.env, (line) => process.stderr.write(`keyturn: ${line}\n`));
  const server = await startDevVault(binary);
  project.provide('vaultServer', { address: server.address, token: server.token, ours: true });
  return () => server.stop();
}
