/** Chains the entries of a tenant (promise 7). One chainer at a time wins; the others find nothing to do. */
import { chainEntries } from '../../shared/audit-chain.ts';
import { defineJob } from '../job.ts';

export const plugin = defineJob({
  name: 'audit',
  process: async (deps, payload) => {
    await chainEntries(deps, payload.tenantId);
  },
});
