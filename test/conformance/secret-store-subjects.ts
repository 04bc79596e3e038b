import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { systemClock } from '../../src/shared/platform/clock.ts';
import type { Config } from '../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { SecretStore } from '../../src/shared/sealing/secret-stores/contract.ts';
import { plugin as file } from '../../src/shared/sealing/secret-stores/plugins/file.ts';
import { plugin as mongodb } from '../../src/shared/sealing/secret-stores/plugins/mongodb.ts';
import { plugin as vault } from '../../src/shared/sealing/secret-stores/plugins/vault.ts';
import { until } from '../../testkit/until.ts';
import '../sealing/vault/context.ts';
import { admin } from '../sealing/vault/raw-call.ts';
import { startVaultStandIn } from '../sealing/vault/stand-in.ts';

/** A secret store that exists for one test file only. */
export type StoreSubject = {
  store: SecretStore;
  /** The same store as another process would open it. */
  reopened: SecretStore;
  /** Where the store cannot be reached; null where there is nothing to reach. */
  cutOff: SecretStore | null;
  /** All values that lie in the store itself, as an operator or a thief would see them; null where there are none. */
  contents: (() => Promise<string[]>) | null;
  /** Changes every value behind the store's back. */
  tamper: ((change: (text: string) => string) => Promise<void>) | null;
  stop(): Promise<void>;
};

const deps = { clock: systemClock, random: systemRandom };

/** `inline`: the value lies in the credential's own document. */
export const STORE_SUBJECTS: { name: string; on: string; inline: boolean; make(): Promise<StoreSubject> }[] = [
  { name: 'mongodb', on: 'a real MongoDB', inline: true, make: makeMongodb },
  { name: 'file', on: 'a temporary directory', inline: false, make: makeFile },
  {
    name: 'vault',
    on: inject('vaultServer') ? 'real Vault' : 'stand-in with replies recorded from a real Vault',
    inline: false,
    make: makeSealer,
  },
];

async function makeMongodb(): Promise<StoreSubject> {
  const create = () => mongodb.create({} as Config, deps);
  return { store: create(), reopened: create(), cutOff: null, contents: null, tamper: null, stop: async () => {} };
}

async function makeFile(): Promise<StoreSubject> {
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-secrets-'));
  const create = (secretDir: string) => file.create({ secretDir } as Config, deps);
  const files = async () => {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  };
  await writeFile(`${dir}.blocked`, '');
  return {
    store: create(dir),
    reopened: create(dir),
    cutOff: create(join(`${dir}.blocked`, 'below-a-file')),
    contents: async () => Promise.all((await files()).map((path) => readFile(path, 'utf8'))),
    async tamper(change) {
      for (const path of await files()) await writeFile(path, change(await readFile(path, 'utf8')));
    },
    async stop() {
      await rm(dir, { recursive: true });
      await rm(`${dir}.blocked`);
    },
  };
}

async function makeSealer(): Promise<StoreSubject> {
  const real = inject('vaultServer');
  const server = real ? { ...real, stop: async () => {} } : await startVaultStandIn();
  const mount = `kv-${systemRandom.bytes(6).toString('hex')}`;
  await admin(server, 'POST', `sys/mounts/${mount}`, { type: 'kv', options: { version: '2' } });
  const create = (address: string) =>
    vault.create(
      {
        vaultAddress: address,
        vaultToken: new Secret(server.token),
        vaultKvMount: mount,
      } as Config,
      deps,
    );
  const store = create(server.address);
  // A new KV engine upgrades its storage for a moment, in which it answers 400.
  await until(() => store.health().then(() => true), { what: 'the new KV engine' });
  const paths = () => listPaths(server, mount);
  return {
    store,
    reopened: create(server.address),
    cutOff: create('http://127.0.0.1:1'),
    contents: async () => Promise.all((await paths()).map((path) => readValue(server, mount, path))),
    async tamper(change) {
      for (const path of await paths()) {
        const jwe = change(await readValue(server, mount, path));
        await admin(server, 'POST', `${mount}/data/${path}`, { data: { jwe } });
      }
    },
    stop: server.stop,
  };
}

type Server = { address: string; token: string };

async function readValue(server: Server, mount: string, path: string): Promise<string> {
  const { data } = (await admin(server, 'GET', `${mount}/data/${path}`)) as { data: { jwe: string } };
  return data.jwe;
}

async function listPaths(server: Server, mount: string, folder = ''): Promise<string[]> {
  const { keys } = await admin(server, 'GET', `${mount}/metadata/${folder}?list=true`).catch(() => ({ keys: [] }));
  const found: string[] = [];
  for (const key of keys as string[]) {
    if (key.endsWith('/')) found.push(...(await listPaths(server, mount, `${folder}${key}`)));
    else found.push(`${folder}${key}`);
  }
  return found;
}
