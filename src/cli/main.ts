#!/usr/bin/env node
/** The operator's command line. Exit codes: 0 well, 1 the answer is no, 2 it could not be done. */
import { parseConfig } from '../shared/platform/config/parse.ts';
import { AppError } from '../shared/platform/errors.ts';
import { runCommand } from './run.ts';

try {
  process.exitCode = await runCommand(process.argv.slice(2), {
    config: () => parseConfig(process.env),
    print: (line) => process.stdout.write(`${line}\n`),
  });
} catch (error) {
  if (!(error instanceof AppError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
