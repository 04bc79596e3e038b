import { expect, test } from 'vitest';
import { runChaos } from './run.ts';

/** The same faults in every run of the tests; `npm run chaos` draws new ones. */
const SEED = 7;

test('under kills, outages and cut networks nothing is lost, doubled or stuck, and no grant is lost to reuse', async () => {
  const report = await runChaos({ seconds: 20, seed: SEED, nodes: 1, say: () => {} });
  expect(report.problems).toEqual([]);
  expect(report).toMatchObject({ lost: 0, doubled: 0, stuck: 0, grantsRevokedByReuse: 0, chainOk: true });
  expect(report.faults).toBeGreaterThan(5);
  expect(report.accepted).toBeGreaterThan(50);
}, 240_000);
