import type { ParseArgsOptionsConfig } from 'node:util';
import type { Config } from '../../shared/platform/config/parse.ts';

/** What is typed after a command's name, and what it needs from the process. */
export type Call = {
  options: Record<string, string | boolean | undefined>;
  /** Reads the configuration. Not read before it is asked for: an offline command needs none. Throws `config_invalid`. */
  config(): Config;
  /** Writes a line to standard output. */
  print(line: string): void;
};

/** 0: it is done, and the answer is good. 1: it is done, and the answer is no. An error that is thrown exits with 2. */
export type ExitCode = 0 | 1;

/** A command: one file in `commands/` exports it, and a row of `commands.ts` names it. */
export type Command = {
  readonly noun: string;
  readonly verb: string;
  /** One line. */
  readonly about: string;
  /** Everything that `--help` says beyond the options. */
  readonly help: string;
  readonly options: ParseArgsOptionsConfig;
  /** Option → what it means; `<value>` names its value. */
  readonly meanings: Readonly<Record<string, string>>;
  run(call: Call): Promise<ExitCode>;
};

/** The text of an option; undefined when it was not given. */
export function textOf(options: Call['options'], name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

/** Who acted, on the audit log: the operator at a command line. */
export const CLI_ACTOR = { kind: 'system', id: 'keyturn-cli' } as const;
