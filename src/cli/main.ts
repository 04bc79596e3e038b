#!/usr/bin/env node
/** The operator's command line. Exit codes: 0 the answer is good, 1 the answer is no, 2 it could not be done. */
import { parseConfig } from '../shared/platform/config/parse.ts';
import { toAppError } from '../shared/platform/errors.ts';
import { runCommand } from './run.ts';

try {
  process.exitCode = await runCommand(process.argv.slice(2), {
    config: () => parseConfig(process.env),
    print: (line) => process.stdout.write(`${line}\n`),
  });
} catch (error) {
  const problem = toAppError(error);
  // A mistake of ours: its stack trace tells more than the public text.
  if (problem !== error && problem.code === 'internal') throw error;
  process.stderr.write(`${problem.message}\n`);
  process.exitCode = 2;
}
