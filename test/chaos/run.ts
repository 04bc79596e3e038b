import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../../testkit/until.ts';
import { FAULTS, type Fault } from './faults.ts';
import { type Dice, makeDice } from './random.ts';
import { startTraffic } from './traffic.ts';
import { judge, type Verdict } from './verdict.ts';
import { startWorld, type World } from './world.ts';

export type ChaosOptions = { seconds: number; seed: number; nodes: number; say: (line: string) => void };

export type ChaosReport = Verdict & { faults: number };

/** Lets a Keyturn work under load and under faults for so long, then lets it come to rest, and judges. */
export async function runChaos({ seconds, seed, nodes, say }: ChaosOptions): Promise<ChaosReport> {
  const world = await startWorld({ nodes, say });
  let keep = true;
  try {
    // Traffic has dice of its own: how fast it gets answers must not change which faults strike.
    const traffic = startTraffic(world, makeDice(seed + 1));
    const faults = await storm(world, makeDice(seed), { seconds, say });
    say('the storm is over');
    await traffic.stop();
    const verdict = await judge(world, traffic.model);
    keep = verdict.problems.length > 0;
    if (keep) dumpLogs(world, say);
    return { faults, ...verdict };
  } finally {
    await world.stop({ keep });
  }
}

const FEWEST_CREDENTIALS = 10;

/** Resolves to the number of faults, all of them healed. */
async function storm(world: World, dice: Dice, { seconds, say }: { seconds: number; say: (line: string) => void }) {
  const busy = new Map<Fault['target'], Promise<void>>();
  // A Keyturn without credentials has nothing to lose.
  const credentials = world.deps.database.collection('credentials');
  const isAtWork = async () => (await credentials.countDocuments({ state: 'active' })) >= FEWEST_CREDENTIALS;
  await until(isAtWork, { what: 'the first credentials' });
  const endAt = performance.now() + seconds * 1000;
  const possible = FAULTS.filter(({ isPossible }) => isPossible?.(world) ?? true);
  let faults = 0;
  while (performance.now() < endAt) {
    const fault = dice.weighted(possible);
    const wait = dice.between(200, 1_500);
    const own = makeDice(dice.between(0, 2 ** 31));
    if (!busy.has(fault.target)) {
      say(`${Math.round((endAt - performance.now()) / 1000)} s left: ${fault.name}`);
      faults += 1;
      const struck = fault.strike(world, own).finally(() => busy.delete(fault.target));
      busy.set(fault.target, struck);
    }
    await pause(wait);
  }
  await Promise.all(busy.values());
  return faults;
}

function dumpLogs(world: World, say: (line: string) => void): void {
  const lines = [world.api, ...world.workers].flatMap((one) => one.output().split('\n'));
  writeFileSync(join(world.dir, 'processes.log'), lines.join('\n'));
  const telling = lines.filter((line) => /"level":"(error|fatal)"|rror:/.test(line));
  say(`what the processes complained about (data kept in ${world.dir}):`);
  for (const line of telling.slice(-40)) say(line.slice(0, 1_000));
}
