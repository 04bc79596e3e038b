import { rotateSigningKey } from '../../shared/keys/signing-keys.ts';
import { AppError } from '../../shared/platform/errors.ts';
import type { Command } from '../base/command.ts';
import { withStore } from '../base/with-store.ts';

const USES = ['checkpoint', 'set', 'intake'] as const;

const HELP = `The old key signs no more, and stays in /.well-known/jwks.json: what it signed stays checkable, what was encrypted to it opens. Whoever keeps checkpoints
pins the new verifier key as well. Processes take the new key up within 30 seconds.`;

/** `keyturn signing-key rotate` */
export const signingKeyRotate: Command = {
  noun: 'signing-key',
  verb: 'rotate',
  about:
    'Puts a new key in the place of the one that signs checkpoints or security event tokens, or that producers encrypt to.',
  help: HELP,
  options: { use: { type: 'string' } },
  meanings: { 'use <checkpoint|set|intake>': 'which one' },

  async run({ options, config, print }) {
    const use = USES.find((one) => one === options.use);
    if (!use) throw new AppError('invalid_request', { detail: `--use must be one of: ${USES.join(', ')}.` });
    await withStore(config(), (deps) => rotateSigningKey(deps, use));
    print(`There is a new key for: ${use}.`);
    return 0;
  },
};
