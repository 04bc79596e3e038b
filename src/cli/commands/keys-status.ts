import { countRemaining } from '../../shared/keys/rotation/requests.ts';
import { liveProcesses } from '../../shared/runtime/processes.ts';
import type { DataKeyDoc } from '../../shared/sealing/contract.ts';
import type { KeyRotationDoc } from '../../shared/store/keys/key-rotations.ts';
import type { Call, Command, ExitCode } from '../command.ts';
import { lineOf } from '../rotations.ts';
import { type StoreDeps, withStore } from '../store.ts';

const HELP = `A data key is \`active\` (seals and opens), \`decrypt_only\` (staged, or being left), \`retired\` (nothing is under it) or
\`destroyed\`. A root key may be taken away when no data key is wrapped by it.`;

export const plugin: Command = {
  noun: 'keys',
  verb: 'status',
  about: 'Shows every key, what is under it, the rotations under way, and which process holds which root key.',
  help: HELP,
  options: { tenant: { type: 'string' } },
  meanings: { 'tenant <id>': 'one tenant only; by default all' },

  async run({ options, config, print }) {
    const where = typeof options.tenant === 'string' ? { tenantId: options.tenant } : {};
    return withStore<ExitCode>(config(), async (deps) => {
      await showRootKeys(deps, print);
      const keys = deps.database.collection('data_keys').find(where).sort({ tenantId: 1, purpose: 1, version: 1 });
      for await (const key of keys) print(`${key._id}: ${key.state}${await usesOf(deps, key)}`);
      const rotations = deps.database
        .collection('key_rotations')
        .find({ ...where, open: true })
        .sort({ _id: 1 });
      for await (const rotation of rotations) print(lineOf(rotation));
      return 0;
    });
  },
};

async function showRootKeys(deps: StoreDeps, print: Call['print']): Promise<void> {
  const current = await deps.keyProvider.currentKeyId();
  const used = await deps.database
    .collection('data_keys')
    .aggregate<{ _id: string; count: number }>([
      { $match: { wrapped: { $ne: null } } },
      { $group: { _id: '$wrapped.keyId', count: { $sum: 1 } } },
      { $sort: { _id: 1 } },
    ])
    .toArray();
  const ids = [...new Set([current, ...used.map(({ _id }) => _id)])];
  for (const id of ids) {
    const count = used.find(({ _id }) => _id === id)?.count ?? 0;
    print(`root key ${id}: wraps ${count} data keys${id === current ? '; wraps new ones' : ''}`);
  }
  for (const { pid, host, keyProvider, keyIds, secretStore } of await liveProcesses(deps)) {
    const held = keyIds === null ? `all of ${keyProvider}` : keyIds.join(', ');
    print(`process ${pid} on ${host}: holds ${held}; puts new secrets into ${secretStore}`);
  }
}

/** Values that open with this version of a sealing key. */
async function usesOf(deps: StoreDeps, { tenantId, purpose, version, state }: DataKeyDoc): Promise<string> {
  if (purpose !== 'seal' || state === 'destroyed') return '';
  const upTo = (limit: number) => countRemaining(deps, { kind: 'data', tenantId, version: limit } as KeyRotationDoc);
  return `, ${(await upTo(version + 1)) - (await upTo(version))} documents with values under it`;
}
