/**
 * Tells subscribers. A job is one subscription's turn; its lane has a place to itself for as long as its consumer takes, and
 * there are places enough that a few hundred that hang leave room for the others.
 */
import { defineJob, type WorkerDeps } from '../work/job.ts';
import { type LaneState, runLane } from './delivery-loop.ts';

/** One set of open sinks for each process; they close when its work ends. */
const states = new WeakMap<WorkerDeps, LaneState>();

export const plugin = defineJob({
  name: 'deliver',

  async process(deps, { ids }, signal) {
    const state = states.get(deps) ?? { sinks: new Map(), suspects: 0 };
    states.set(deps, state);
    await Promise.all(ids.map((id) => runLane(deps, state, id, signal)));
  },
});
