import { systemClock } from '../src/shared/clock.ts';
import { parseConfig } from '../src/shared/config.ts';
import { makeLog } from '../src/shared/log.ts';
import { type OpenedDeps, openDeps } from '../src/shared/open-deps.ts';
import { systemRandom } from '../src/shared/random.ts';

/** The parts of a Keyturn, for preparing and watching a measure. */
export function openBench(env: Record<string, string>): Promise<OpenedDeps> {
  return openDeps(parseConfig(env), { clock: systemClock, random: systemRandom, log: makeLog('warn', {}) });
}
