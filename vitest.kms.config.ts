import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

/** `npm run test:kms`: the suites that concern AWS KMS, against moto's server. */
export default mergeConfig(
  { ...base, test: { ...base.test, include: [] } },
  defineConfig({
    test: {
      include: ['test/conformance/key-providers.test.ts', 'test/sealing/kms/*.test.ts'],
      globalSetup: ['test/sealing/kms/global-setup.ts'],
    },
  }),
);
