import { ownerOf, PURPOSE_OF } from '../../shared/keys/rotation/requests.ts';
import { AppError } from '../../shared/platform/errors.ts';
import { assertHeldByAll } from '../../shared/runtime/processes.ts';
import { listTenantsWithDataKey } from '../../shared/store/keys/data-keys.ts';
import { type Command, textOf } from '../base/command.ts';
import { rotateAll, WAIT_HELP, WAIT_OPTIONS } from '../base/rotation-progress.ts';
import { type StoreDeps, withStore } from '../base/with-store.ts';

const KINDS = ['root', 'data', 'fingerprint'] as const;
type Kind = (typeof KINDS)[number];

const HELP = `--data         a new data key; every sealed value is sealed anew under it; the old key is retired when none is left
--fingerprint  a new fingerprint key; every token is fingerprinted anew
--root         wraps the data keys anew under the root key that the key provider wraps with now. For the local provider:
               put the new key into KEYTURN_ROOT_KEYS_STAGED of every process; then make it the first of
               KEYTURN_ROOT_KEYS everywhere; then rotate; then take the old one away. Each step restarts the processes,
               and none starts too early.

${WAIT_HELP}`;

/** `keyturn keys rotate` */
export const keysRotate: Command = {
  noun: 'keys',
  verb: 'rotate',
  about: 'Rotates the root key, or the data or fingerprint keys of tenants.',
  help: HELP,
  options: {
    root: { type: 'boolean' },
    data: { type: 'boolean' },
    fingerprint: { type: 'boolean' },
    tenant: { type: 'string' },
    ...WAIT_OPTIONS.options,
  },
  meanings: {
    root: 'the root key',
    data: 'the keys that secrets are sealed with',
    fingerprint: 'the keys that leaked tokens are looked up with',
    'tenant <id>': 'one tenant only; by default all, one after the other',
    ...WAIT_OPTIONS.meanings,
  },

  async run({ options, config, print }) {
    const [kind, ...more] = KINDS.filter((one) => options[one] === true);
    if (!kind || more.length > 0) {
      throw new AppError('invalid_request', { detail: 'Say one of --root, --data, --fingerprint.' });
    }
    const tenant = textOf(options, 'tenant');
    if (kind === 'root' && tenant !== undefined) {
      throw new AppError('invalid_request', { detail: 'The root key belongs to no tenant: leave --tenant out.' });
    }
    return withStore(config(), async (deps) =>
      rotateAll(deps, { options, print }, await requestsFor(deps, kind, tenant)),
    );
  },
};

async function requestsFor(deps: StoreDeps, kind: Kind, tenant: string | undefined) {
  if (kind === 'root') {
    const target = await deps.keyProvider.currentKeyId();
    await assertHeldByAll(deps, target);
    return [{ kind, target, tenantId: ownerOf(kind, '') }];
  }
  const known = await listTenantsWithDataKey(deps.database, PURPOSE_OF[kind]);
  if (tenant !== undefined && !known.includes(tenant)) {
    throw new AppError('not_found', { detail: `There is no tenant ${tenant} with such a key.` });
  }
  return known
    .filter((id) => tenant === undefined || id === tenant)
    .map((tenantId) => ({ kind, target: null, tenantId }));
}
