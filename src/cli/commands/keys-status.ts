import type { DataKeyDoc } from '../../shared/sealing/contract.ts';
import { countDataKeysByRootKey, walkDataKeys } from '../../shared/store/keys/data-keys.ts';
import { listOpenKeyRotations } from '../../shared/store/keys/key-rotations.ts';
import { listLiveProcesses } from '../../shared/store/keys/processes.ts';
import { countBacklog } from '../../shared/store/reseal-backlog.ts';
import { type Call, type Command, type ExitCode, textOf } from '../base/command.ts';
import { lineOf } from '../base/rotation-progress.ts';
import { type StoreDeps, withStore } from '../base/with-store.ts';

const HELP = `A data key is \`active\` (seals and opens), \`decrypt_only\` (staged, or being left), \`retired\` (nothing is under it) or
\`destroyed\`. A root key may be taken away when no data key is wrapped by it.`;

/** `keyturn keys status` */
export const keysStatus: Command = {
  noun: 'keys',
  verb: 'status',
  about: 'Shows every key, what is under it, the rotations under way, and which process holds which root key.',
  help: HELP,
  options: { tenant: { type: 'string' } },
  meanings: { 'tenant <id>': 'one tenant only; by default all' },

  async run({ options, config, print }) {
    const tenantId = textOf(options, 'tenant');
    return withStore<ExitCode>(config(), async (deps) => {
      const { database } = deps;
      await showRootKeys(deps, print);
      await showProcesses(deps, print);
      for await (const key of walkDataKeys(database, { tenantId })) {
        print(`${key._id}: ${key.state}${await usesOf(deps, key)}`);
      }
      for (const rotation of await listOpenKeyRotations(database, { tenantId })) print(lineOf(rotation));
      return 0;
    });
  },
};

async function showRootKeys(deps: StoreDeps, print: Call['print']): Promise<void> {
  const current = await deps.keyProvider.currentKeyId();
  const counts = await countDataKeysByRootKey(deps.database);
  for (const id of new Set([current, ...counts.keys()])) {
    print(`root key ${id}: wraps ${counts.get(id) ?? 0} data keys${id === current ? '; wraps new ones' : ''}`);
  }
}

async function showProcesses({ database }: StoreDeps, print: Call['print']): Promise<void> {
  for (const { pid, host, keyProvider, keyIds, secretStore } of await listLiveProcesses(database)) {
    const held = keyIds === null ? `all of ${keyProvider}` : keyIds.join(', ');
    print(`process ${pid} on ${host}: holds ${held}; puts new secrets into ${secretStore}`);
  }
}

/** How many documents have values that open with this version; nothing for a key that seals no values. */
async function usesOf({ database }: StoreDeps, { tenantId, purpose, version, state }: DataKeyDoc): Promise<string> {
  if (purpose !== 'seal' || state === 'destroyed') return '';
  const below = (limit: number) => countBacklog(database, { kind: 'data', tenantId, version: limit, target: null });
  return `, ${(await below(version + 1)) - (await below(version))} documents with values under it`;
}
