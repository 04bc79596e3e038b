import { AppError } from '../../shared/platform/errors.ts';
import { writersElsewhere } from '../../shared/runtime/processes.ts';
import { secretStoreNames } from '../../shared/sealing/secret-stores/load.ts';
import { listTenantsWithCredentials } from '../../shared/store/lifecycle/credentials-lookup.ts';
import { type Command, textOf } from '../base/command.ts';
import { rotateAll, WAIT_HELP, WAIT_OPTIONS } from '../base/rotation-progress.ts';
import { withStore } from '../base/with-store.ts';

const HELP = `First give every process the variables of the new store and KEYTURN_SECRET_STORE=<store>, and restart one after the other:
new secrets go there, old ones are read where they are. Then migrate: the values move as they are sealed. It ends when none
is left in another store and no process puts new ones elsewhere.

${WAIT_HELP}`;

/** `keyturn secrets migrate` */
export const secretsMigrate: Command = {
  noun: 'secrets',
  verb: 'migrate',
  about: 'Moves sealed secrets to another store.',
  help: HELP,
  options: { to: { type: 'string' }, tenant: { type: 'string' }, ...WAIT_OPTIONS.options },
  meanings: {
    'to <store>': 'mongodb, file or vault',
    'tenant <id>': 'one tenant only; by default all, one after the other',
    ...WAIT_OPTIONS.meanings,
  },

  async run({ options, config, print }) {
    const target = textOf(options, 'to');
    const names = await secretStoreNames();
    if (target === undefined || !names.includes(target)) {
      throw new AppError('invalid_request', { detail: `--to must be one of: ${names.join(', ')}.` });
    }
    return withStore(config(), async (deps) => {
      await (await deps.secrets.named(target)).health();
      const elsewhere = await writersElsewhere(deps, target);
      if (elsewhere.length > 0) print(`New secrets still go elsewhere from: ${elsewhere.join(', ')}. See --help.`);
      const tenant = textOf(options, 'tenant');
      const tenants = tenant === undefined ? await listTenantsWithCredentials(deps.database) : [tenant];
      const requests = tenants.map((tenantId) => ({ kind: 'store' as const, target, tenantId }));
      return rotateAll(deps, { options, print }, requests);
    });
  },
};
