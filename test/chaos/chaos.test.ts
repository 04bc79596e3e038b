import { expect, test } from 'vitest';
import { atLength } from '../../testkit/length.ts';
import { runChaos } from './run.ts';

/** The same faults in every run of the tests; `npm run chaos` draws new ones. */
const SEED = 7;

const STORM = atLength({
  short: { seconds: 8, fewestFaults: 3, fewestAccepted: 15 },
  long: { seconds: 20, fewestFaults: 5, fewestAccepted: 50 },
});

test('under kills, outages and cut networks nothing is lost, doubled or stuck, and no grant is lost to reuse', async () => {
  const report = await runChaos({ seconds: STORM.seconds, seed: SEED, nodes: 1, say: () => {} });
  expect(report.problems).toEqual([]);
  expect(report).toMatchObject({ lost: 0, doubled: 0, stuck: 0, grantsRevokedByReuse: 0, chainOk: true });
  expect(report.faults).toBeGreaterThan(STORM.fewestFaults);
  expect(report.accepted).toBeGreaterThan(STORM.fewestAccepted);
}, 600_000);
