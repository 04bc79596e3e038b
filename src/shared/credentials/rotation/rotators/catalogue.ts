/** The rotators that there are, and which one takes a credential. */
import { AppError } from '../../../platform/errors.ts';
import { makePluginLoader } from '../../../platform/plugins.ts';
import type { RotationCall, Rotator } from './contract.ts';

/** Rotators by name. */
export type Rotators = ReadonlyMap<string, Rotator>;

const { all } = makePluginLoader<Rotator>({
  kind: 'rotator',
  self: import.meta.url,
  shape: {
    about: 'string',
    needs: 'object',
    adminNeeds: 'object',
    mintedBy: ['home', 'provider'],
    appliesTo: 'function',
    mint: 'function',
    apply: 'function',
    verify: 'function',
    retire: 'function',
  },
});

/** Every rotator: the files in `plugins/`. Throws `config_invalid` where one is none. */
export const loadRotators = all;

/** The one that `metadata.rotator` names, else the first that applies. Throws `provider_unsupported`. */
export function chooseRotator(rotators: Rotators, credential: RotationCall['credential']): Rotator {
  return findRotator(rotators, credential) ?? refuse(rotators);
}

/** As `chooseRotator`; undefined where there is none. */
export function findRotator(rotators: Rotators, credential: RotationCall['credential']): Rotator | undefined {
  const named = credential.metadata.rotator;
  return named !== undefined
    ? rotators.get(named)
    : [...rotators.values()].find((rotator) => rotator.appliesTo(credential));
}

/** The rotator of that name. Throws `provider_unsupported`. */
export function namedRotator(rotators: Rotators, name: string): Rotator {
  return rotators.get(name) ?? refuse(rotators);
}

function refuse(rotators: Rotators): never {
  const names = [...rotators.keys()].join(', ');
  throw new AppError('provider_unsupported', {
    detail: `No rotator takes this credential; its metadata "rotator" may name one of: ${names}.`,
  });
}
