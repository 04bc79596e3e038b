import type { Command } from '../command.ts';
import { withStore } from '../store.ts';

const MOST = 1_000;

export const plugin: Command = {
  noun: 'events',
  verb: 'list',
  about: 'Shows the events that wait for a person, and why.',
  help: 'One line each: id, type, tenant, attempts, problem. Exit code 0 when there are none, 1 when there are.',
  options: { tenant: { type: 'string' } },
  meanings: { 'tenant <id>': 'one tenant only; by default all' },
  run: ({ options, config, print }) =>
    withStore(config(), async ({ database }) => {
      const ofTenant = typeof options.tenant === 'string' ? { tenantId: options.tenant } : {};
      const parked = await database
        .collection('events')
        .find({ ...ofTenant, status: 'parked' })
        .sort({ _id: 1 })
        .limit(MOST)
        .toArray();
      for (const { _id, type, tenantId, attempts, problem } of parked) {
        print(`${_id}  ${type}  ${tenantId}  ${attempts} attempts  ${problem?.code}: ${problem?.detail}`);
      }
      return parked.length === 0 ? 0 : 1;
    }),
};
