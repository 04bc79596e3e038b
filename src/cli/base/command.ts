import type { ParseArgsOptionsConfig } from 'node:util';
import type { Config } from '../shared/platform/config/parse.ts';

/** What a command is given. */
export type Call = {
  options: Record<string, string | boolean | undefined>;
  /** Reads the configuration when it is asked for: an offline command needs none. Throws `config_invalid`. */
  config(): Config;
  /** Writes a line to standard output. */
  print(line: string): void;
};

/** 0: done, and well. 1: done, and the answer is no. 2 (thrown): it could not be done. */
export type ExitCode = 0 | 1;

/** One file in `commands/` exports one as `plugin`. */
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
