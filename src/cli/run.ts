import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { AppError } from '../shared/platform/errors.ts';
import type { Call, Command, ExitCode } from './base/command.ts';
import { COMMANDS } from './commands.ts';

/** Runs `<noun> <verb> [options]`. Throws `invalid_request` with what to type when that is no command. */
export async function runCommand(args: string[], given: Omit<Call, 'options'>): Promise<ExitCode> {
  const [noun, verb, ...rest] = args;
  if (noun === undefined || noun === '--help' || noun === 'help') {
    given.print(overview());
    return 0;
  }
  const command = COMMANDS.find((one) => one.noun === noun && one.verb === verb);
  if (!command) {
    throw new AppError('invalid_request', {
      detail: `There is no command "${[noun, verb].filter(Boolean).join(' ')}".\n\n${overview()}`,
    });
  }
  const options = parse(rest, command);
  if (options.help) {
    given.print(helpOf(command));
    return 0;
  }
  return command.run({ ...given, options });
}

function parse(args: string[], command: Command): Call['options'] {
  const options: ParseArgsOptionsConfig = { ...command.options, help: { type: 'boolean' } };
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values as Call['options'];
  } catch (error) {
    throw new AppError('invalid_request', { detail: `${(error as Error).message}\n\n${helpOf(command)}` });
  }
}

function overview(): string {
  const rows = COMMANDS.map(({ noun, verb, about }) => `  ${`${noun} ${verb}`.padEnd(24)}${about}`);
  return ['Usage: keyturn <noun> <verb> [options]', '', ...rows, '', '`--help` after a command says more.'].join('\n');
}

function helpOf({ noun, verb, about, help, meanings }: Command): string {
  const rows = Object.entries(meanings).map(([option, meaning]) => `  --${option.padEnd(26)}${meaning}`);
  return [`Usage: keyturn ${noun} ${verb} [options]`, '', about, '', ...rows, '', help].join('\n');
}
