import { requireTenant, shredTenant, tryToOpenAll } from '../../shared/keys/shred.ts';
import { AppError } from '../../shared/platform/errors.ts';
import { CLI_ACTOR, type Command, textOf } from '../base/command.ts';
import { withStore } from '../base/with-store.ts';

const HELP = `There is no way back. The tenant's data keys are destroyed, so no copy of what it sealed opens any more; its API keys are
closed; its log stays, and stays verifiable. A backup of MongoDB from before holds the wrapped data keys: who has it and
the root key opens what it holds, so rotate the root key and let such backups end. Processes that run forget the keys
within KEYTURN_KEY_REFRESH_SECONDS.

Exit codes: 0 destroyed, and not one value opened when all were tried, 1 some value opened, 2 it could not be done.`;

/** `keyturn tenants shred` */
export const tenantsShred: Command = {
  noun: 'tenants',
  verb: 'shred',
  about: "Destroys a tenant's data keys: nothing that it sealed ever opens again.",
  help: HELP,
  options: { tenant: { type: 'string' }, confirm: { type: 'string' } },
  meanings: { 'tenant <id>': 'which one', 'confirm <name>': 'its name, typed' },

  async run({ options, config, print }) {
    const tenantId = textOf(options, 'tenant');
    if (tenantId === undefined) throw new AppError('invalid_request', { detail: 'Say which one with --tenant.' });
    return withStore(config(), async (deps) => {
      const { name } = await requireTenant(deps, tenantId);
      if (textOf(options, 'confirm') !== name) {
        throw new AppError('invalid_request', {
          detail: `To destroy it, type its name: --confirm ${JSON.stringify(name)}`,
        });
      }
      await shredTenant(deps, tenantId, CLI_ACTOR);
      const { tried, opened } = await tryToOpenAll(deps, tenantId);
      print(`${tenantId} (${name}): data keys destroyed. Of ${tried} sealed values ${opened} open.`);
      return opened === 0 ? 0 : 1;
    });
  },
};
