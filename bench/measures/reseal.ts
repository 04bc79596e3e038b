import type { ChildProcess } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { openMaterial } from '../../src/shared/keys/material.ts';
import { requestRotation } from '../../src/shared/keys/rotation/requests.ts';
import { VARIABLES } from '../../src/shared/platform/config/variables.ts';
import type { Deps } from '../../src/shared/runtime/deps.ts';
import type { KeyRotationDoc } from '../../src/shared/store/keys/key-rotations.ts';
import { countBacklog } from '../../src/shared/store/reseal-backlog.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import { openBed } from '../bed.ts';
import { end, forkFile } from '../children.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { generateLoad, message } from '../generate-load.ts';

const COUNT = 100_000;
const KILLS = 3;
const LOAD = { connections: 20, requests: 4_000 };
const GIVE_UP_MS = 600_000;

export const bench: Bench = {
  name: 'reseal',
  about: `a data key rotates over ${COUNT} credentials and ${KILLS} kill -9; then again at the default pace, under token releases`,
  goal: null,
  byDefault: false,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  await using bed = await openBed(context, {
    extra: { KEYTURN_KEY_REFRESH_SECONDS: '1', KEYTURN_LEASE_SECONDS: '3', KEYTURN_QUEUES: 'reseal,sweep' },
  });
  const { deps, env } = bed;
  const api = await bed.startApi();
  const { tenantId } = api;
  const ids = await seedCredentials(deps, { count: COUNT, service: 'stub', tenantId });
  context.say('  seeded');
  const reader = startReader(deps, ids);
  const killed = await rotateOverKills(deps, env, tenantId, context.say);
  const checked = await reader();
  context.say(`  ${killed.rate}/s over ${KILLS} kills; ${checked.reads} reads, ${checked.failures} failures`);
  const messages = ids.slice(0, 5_000).map((id) => message('GET', `/v1/credentials/${id}/token`, api.key));
  const paced = await releaseMeanwhile(deps, env, { port: api.port, messages, tenantId });
  return {
    ratios: [paced.during / paced.quiet],
    figures: {
      'sealed anew/s, unpaced, one worker': killed.rate,
      'seconds from request to the old key retired, with kills': Math.round(killed.totalMs / 1_000),
      'values left under the old key': killed.left,
      'reads while it went on': checked.reads,
      'reads that failed': checked.failures,
      [`sealed anew/s at the default pace of ${VARIABLES.resealPerSecond.default}`]: paced.rate,
      'releases/s before and after': paced.quiet,
      'releases/s while it went on': paced.during,
    },
  };
}

/** Opens secrets at random until it is told to stop: what a release does with them. */
function startReader(deps: Deps, ids: string[]) {
  const state = { going: true, reads: 0, failures: 0 };
  const read = async () => {
    for (let number = 0; state.going; number += 1) {
      const some = Array.from({ length: 20 }, (_, index) => ids[((number * 20 + index) * 7919) % ids.length]!);
      const docs = await deps.database
        .collection('credentials')
        .find({ _id: { $in: some } })
        .toArray();
      const opened = await Promise.allSettled(docs.map((doc) => openMaterial(deps, doc)));
      state.reads += opened.length;
      state.failures += opened.filter(({ status }) => status === 'rejected').length;
      await pause(5);
    }
  };
  const running = read();
  return async () => {
    state.going = false;
    await running;
    return state;
  };
}

async function rotateOverKills(deps: Deps, env: Record<string, string>, tenantId: string, say: (line: string) => void) {
  const begin = performance.now();
  const rotation = await begun(deps, tenantId);
  const fast = { ...env, KEYTURN_RESEAL_PER_SECOND: '1000000' };
  const rates: number[] = [];
  for (let kill = 0; kill <= KILLS; kill += 1) {
    const worker = forkFile('../src/workers/main.ts', [], fast);
    const first = await progressOf(deps, rotation, ({ moved }, from) => moved > from);
    const since = performance.now();
    const share = kill === KILLS ? 0.98 : (kill + 1) / (KILLS + 1);
    const last = await progressOf(deps, rotation, ({ moved }) => moved >= share * COUNT);
    rates.push(perSecond(last.moved - first.moved, performance.now() - since));
    if (kill === KILLS) await finish(deps, rotation, worker);
    else await end(worker, 'SIGKILL');
    say(`  ${last.moved} sealed anew${kill < KILLS ? ', killed' : ''}`);
  }
  const done = await current(deps, rotation);
  return {
    rate: quantile(rates, 0.5),
    totalMs: performance.now() - begin,
    left: await countBacklog(deps.database, done),
  };
}

async function releaseMeanwhile(
  deps: Deps,
  env: Record<string, string>,
  { port, messages, tenantId }: { port: number; messages: string[]; tenantId: string },
) {
  const load = { ...LOAD, port, messages };
  const releases = async () => perSecond(LOAD.requests, (await generateLoad(load, '200')).ms);
  await releases();
  const worker = forkFile('../src/workers/main.ts', [], env);
  const quiet = [await releases(), await releases(), await releases()];
  const rotation = await begun(deps, tenantId);
  const first = await progressOf(deps, rotation, ({ moved }, from) => moved > from);
  const since = performance.now();
  const during: number[] = [];
  let last = first;
  while (last.phase === 'moving' && last.moved < 0.95 * COUNT) {
    during.push(await releases());
    last = await current(deps, rotation);
  }
  const rate = perSecond(last.moved - first.moved, performance.now() - since);
  await finish(deps, rotation, worker);
  // Before and after: a machine that others use as well drifts.
  quiet.push(await releases(), await releases(), await releases());
  return { quiet: quantile(quiet, 0.5), during: quantile(during, 0.5), rate };
}

function begun(deps: Deps, tenantId: string): Promise<KeyRotationDoc> {
  return requestRotation(deps, { tenantId, kind: 'data', target: null, actor: { kind: 'system', id: 'bench' } });
}

async function finish(deps: Deps, rotation: KeyRotationDoc, worker: ChildProcess): Promise<void> {
  await progressOf(deps, rotation, ({ phase }) => phase === 'finished');
  await end(worker);
}

async function current(deps: Deps, { _id, tenantId }: KeyRotationDoc): Promise<KeyRotationDoc> {
  return (await deps.database.collection('key_rotations').findOne({ _id, tenantId }))!;
}

/** The rotation as soon as `condition` holds; it is given how much had been moved at first. */
async function progressOf(
  deps: Deps,
  rotation: KeyRotationDoc,
  condition: (doc: KeyRotationDoc, from: number) => boolean,
): Promise<KeyRotationDoc> {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  const { moved: from } = await current(deps, rotation);
  for (;;) {
    const doc = await current(deps, rotation);
    if (condition(doc, from)) return doc;
    if (performance.now() > giveUpAt) throw new Error(`the rotation does not come on: ${JSON.stringify(doc)}`);
    await pause(20);
  }
}
