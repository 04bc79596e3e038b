import { listParkedEvents } from '../../shared/store/lifecycle/events.ts';
import { type Command, textOf } from '../base/command.ts';
import { withStore } from '../base/with-store.ts';

const MAX_SHOWN = 1_000;

/** `keyturn events list` */
export const eventsList: Command = {
  noun: 'events',
  verb: 'list',
  about: 'Shows the events that wait for a person, and why.',
  help: 'One line each: id, type, tenant, attempts, problem. Exit code 0 when there are none, 1 when there are.',
  options: { tenant: { type: 'string' } },
  meanings: { 'tenant <id>': 'one tenant only; by default all' },
  run: ({ options, config, print }) =>
    withStore(config(), async ({ database }) => {
      const parked = await listParkedEvents(database, { tenantId: textOf(options, 'tenant'), limit: MAX_SHOWN });
      for (const { _id, type, tenantId, attempts, problem } of parked) {
        print(`${_id}  ${type}  ${tenantId}  ${attempts} attempts  ${problem?.code}: ${problem?.detail}`);
      }
      return parked.length === 0 ? 0 : 1;
    }),
};
