/**
 * Tells subscribers. A job is one subscription's turn, and lasts for as long as its consumer takes. A process runs many at once:
 * a few hundred that hang leave room for the others.
 */
import { defineJob } from '../work/job.ts';
import { runDeliveryLoop, type SharedState } from './loop.ts';

export const createDeliverJob = defineJob('deliver', (deps) => {
  // One set of open sinks for each process; they close when its work ends.
  const state: SharedState = { sinks: new Map(), suspects: 0 };
  return {
    async process({ ids }, signal) {
      await Promise.all(ids.map((id) => runDeliveryLoop(deps, state, id, signal)));
    },
  };
});
