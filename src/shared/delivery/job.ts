/**
 * Tells subscribers. A job is one subscription's turn; its lane has a place to itself for as long as its consumer takes, and
 * there are places enough that a few hundred that hang leave room for the others.
 */
import { defineJob } from '../work/job.ts';
import { type DeliveryState, runDelivery } from './delivery-loop.ts';

export const createDeliverJob = defineJob('deliver', (deps) => {
  // One set of open sinks for each process; they close when its work ends.
  const state: DeliveryState = { sinks: new Map(), suspects: 0 };
  return {
    async process({ ids }, signal) {
      await Promise.all(ids.map((id) => runDelivery(deps, state, id, signal)));
    },
  };
});
