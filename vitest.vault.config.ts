import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

/** `npm run test:vault`: the suites that concern Vault, against a real one. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [] } },
  defineConfig({
    test: {
      include: ['test/conformance/{key-providers,secret-stores}.test.ts', 'test/sealing/vault/*.{test,vault}.ts'],
      globalSetup: ['test/sealing/vault/global-setup.ts'],
    },
  }),
);
