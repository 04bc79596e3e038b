import { CreateAliasCommand, CreateKeyCommand, KMSClient, UpdateAliasCommand } from '@aws-sdk/client-kms';
import { inject } from 'vitest';
import { systemClock } from '../../src/shared/platform/clock.ts';
import type { Config } from '../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { KeyProvider } from '../../src/shared/sealing/key-providers/contract.ts';
import { plugin as awsKms } from '../../src/shared/sealing/key-providers/plugins/aws-kms.ts';
import { plugin as local } from '../../src/shared/sealing/key-providers/plugins/local.ts';
import { plugin as vault } from '../../src/shared/sealing/key-providers/plugins/vault.ts';
import '../sealing/kms/context.ts';
import '../sealing/kms/credentials.ts';
import { startKmsStandIn } from '../sealing/kms/stand-in.ts';
import '../sealing/vault/context.ts';
import { admin } from '../sealing/vault/raw-call.ts';
import { startVaultStandIn } from '../sealing/vault/stand-in.ts';

/** A key provider with a root key of its own that exists for one test file only. */
export type Subject = {
  provider: KeyProvider;
  /** Makes another root key the one that wraps; gives the provider to use from then on. */
  rotate(): Promise<KeyProvider>;
  /** The same provider where its server cannot be reached; null where there is no server. */
  cutOff: KeyProvider | null;
  stop(): Promise<void>;
};

const deps = { clock: systemClock, random: systemRandom };
const unique = () => systemRandom.bytes(6).toString('hex');
const DEAD = 'http://127.0.0.1:1';

/** `name` is the plug-in's; `on` says what it runs against. */
export const SUBJECTS: { name: string; on: string; make(): Promise<Subject> }[] = [
  { name: 'local', on: 'keys in memory', make: makeLocal },
  { name: 'vault', on: `${vaultKind()}, derived key`, make: () => makeVault(true) },
  { name: 'vault', on: `${vaultKind()}, key without derivation`, make: () => makeVault(false) },
  { name: 'aws-kms', on: inject('kmsEndpoint') ? "moto's server" : 'local stand-in', make: makeKms },
];

function vaultKind(): string {
  return inject('vaultServer') ? 'real Vault' : 'stand-in with replies recorded from a real Vault';
}

async function makeLocal(): Promise<Subject> {
  const keys = [systemRandom.bytes(32), systemRandom.bytes(32)].map((key) => key.toString('base64'));
  const create = (list: string[]) => local.create({ rootKeys: new Secret(list.join(',')) } as Config, deps);
  return {
    provider: create([keys[0]!]),
    rotate: async () => create([keys[1]!, keys[0]!]),
    cutOff: null,
    stop: async () => {},
  };
}

async function makeVault(derived: boolean): Promise<Subject> {
  const real = inject('vaultServer');
  const server = real ? { ...real, stop: async () => {} } : await startVaultStandIn();
  const mount = `transit-${unique()}`;
  await admin(server, 'POST', `sys/mounts/${mount}`, { type: 'transit' });
  await admin(server, 'POST', `${mount}/keys/keyturn`, { derived });
  const create = (address: string) =>
    vault.create(
      {
        vaultAddress: address,
        vaultToken: new Secret(server.token),
        vaultTransitMount: mount,
        vaultTransitKey: 'keyturn',
      } as Config,
      deps,
    );
  const provider = create(server.address);
  const rotate = async () => {
    await admin(server, 'POST', `${mount}/keys/keyturn/rotate`, {});
    return provider;
  };
  return { provider, rotate, cutOff: create(DEAD), stop: server.stop };
}

async function makeKms(): Promise<Subject> {
  const moto = inject('kmsEndpoint');
  const server = moto ? { endpoint: moto, stop: async () => {} } : await startKmsStandIn();
  const client = new KMSClient({ endpoint: server.endpoint });
  const newKey = async () => (await client.send(new CreateKeyCommand({}))).KeyMetadata!.KeyId!;
  const AliasName = `alias/keyturn-${unique()}`;
  await client.send(new CreateAliasCommand({ AliasName, TargetKeyId: await newKey() }));
  const create = (endpoint: string) =>
    awsKms.create({ awsKmsKeyId: AliasName, awsKmsEndpoint: endpoint } as Config, deps);
  const provider = create(server.endpoint);
  const rotate = async () => {
    await client.send(new UpdateAliasCommand({ AliasName, TargetKeyId: await newKey() }));
    return provider;
  };
  const stop = async () => {
    client.destroy();
    await server.stop();
  };
  return { provider, rotate, cutOff: create(DEAD), stop };
}
