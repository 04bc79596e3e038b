import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Child, startChild } from '../../../local/tools/children.ts';
import { freePort } from '../../../local/tools/ports.ts';
import { until } from '../../../testkit/until.ts';
import { type RawReply, rawCall } from './raw-call.ts';

/** A Vault that we started on loopback. */
export type RealVault = { address: string; token: string; stop(): Promise<void> };

/** Starts `vault server -dev`: unsealed, in memory, with KV v2 at `secret`. */
export async function startDevVault(binary: string): Promise<RealVault> {
  const port = await freePort();
  const token = 'root';
  const args = ['server', '-dev', '-dev-no-store-token', `-dev-root-token-id=${token}`];
  const child = await start(binary, [...args, `-dev-listen-address=127.0.0.1:${port}`]);
  const address = `http://127.0.0.1:${port}`;
  await answering(address, [200]);
  return { address, token, stop: () => child.stop() };
}

/** Two nodes of one cluster on Raft: `active` and `standby`, both unsealed. */
export async function startVaultPair(binary: string): Promise<{ active: RealVault; standby: RealVault }> {
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-vault-'));
  const [first, second] = [await startNode(binary, dir, 'one'), await startNode(binary, dir, 'two')];
  await answering(first.address, [501]);
  const init = await rawCall(first.address, 'PUT', 'sys/init', { body: { secret_shares: 1, secret_threshold: 1 } });
  const { keys, root_token: token } = JSON.parse(init.body) as { keys: string[]; root_token: string };
  const unseal = (address: string) => rawCall(address, 'PUT', 'sys/unseal', { body: { key: keys[0] } });
  await unseal(first.address);
  await answering(first.address, [200]);
  await rawCall(second.address, 'PUT', 'sys/storage/raft/join', { body: { leader_api_addr: first.address } });
  await until(async () => (await unseal(second.address)).status === 200, { what: 'the second node to be unsealed' });
  await answering(second.address, [429]);
  const stop = async () => {
    await Promise.all([first.child.stop('SIGKILL'), second.child.stop('SIGKILL')]);
    await rm(dir, { recursive: true, force: true });
  };
  return {
    active: { address: first.address, token, stop },
    standby: { address: second.address, token, stop },
  };
}

async function startNode(binary: string, dir: string, id: string): Promise<{ address: string; child: Child }> {
  const [port, clusterPort] = [await freePort(), await freePort()];
  const address = `http://127.0.0.1:${port}`;
  const data = join(dir, id);
  await mkdir(data);
  const config = join(dir, `${id}.hcl`);
  await writeFile(
    config,
    [
      `storage "raft" {\n  path = "${data}"\n  node_id = "${id}"\n}`,
      `listener "tcp" {\n  address = "127.0.0.1:${port}"\n  cluster_address = "127.0.0.1:${clusterPort}"\n  tls_disable = true\n}`,
      `api_addr = "${address}"\ncluster_addr = "https://127.0.0.1:${clusterPort}"\ndisable_mlock = true\n`,
    ].join('\n'),
  );
  return { address, child: await start(binary, ['server', `-config=${config}`]) };
}

function start(binary: string, args: string[]): Promise<Child> {
  return startChild(binary, args, { stdio: 'ignore' });
}

async function answering(address: string, statuses: number[]): Promise<RawReply> {
  const look = async () => {
    const reply = await rawCall(address, 'GET', 'sys/health', {});
    return statuses.includes(reply.status) ? reply : undefined;
  };
  return until(look, { what: `Vault to answer with ${statuses.join(' or ')}`, timeoutMs: 30_000, everyMs: 100 });
}
