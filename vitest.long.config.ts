import { globSync, readFileSync } from 'node:fs';
import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

/** The files that are always long, and those whose tests ask `atLength` (testkit/length.ts) how thorough they are to be. */
const long = globSync('test/**/*.test.ts', { cwd: import.meta.dirname }).filter(
  (file) =>
    file.endsWith('.long.test.ts') || readFileSync(`${import.meta.dirname}/${file}`, 'utf8').includes('atLength('),
);

/** `npm run test:long`: what takes long, at its full length. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [], exclude: [] } },
  // One file at a time: at full length each asks for the whole machine.
  defineConfig({ test: { include: long, provide: { length: 'long' }, maxWorkers: 1 } }),
);
