import { defineConfig } from 'vitest/config';
import LongFirst from './testkit/setup/long-first.ts';

/** `npm test`: every test but the `.long` ones; those that can be long at their short length. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/**/*.long.test.ts'],
    globalSetup: ['testkit/setup/global-setup.ts'],
    setupFiles: ['testkit/setup/end-processes.ts'],
    provide: { length: 'short' },
    pool: 'forks',
    // Loading the source takes longer than most files: a process runs one file after another, each with a database of its own.
    isolate: false,
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    // For a machine that does something else as well: see `PATIENCE_MS` in testkit/until.ts.
    testTimeout: 120_000,
    hookTimeout: 180_000,
  },
});
