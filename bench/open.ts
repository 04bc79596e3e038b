import { reviveRetiredKeys } from '../src/shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../src/shared/platform/clock.ts';
import { parseConfig } from '../src/shared/platform/config/parse.ts';
import { makeLog } from '../src/shared/platform/log.ts';
import { systemRandom } from '../src/shared/platform/random.ts';
import { type OpenedDeps, openDeps } from '../src/shared/runtime/open-deps.ts';

/** The parts of a Keyturn, for preparing and watching a measure. */
export function openBench(env: Record<string, string>): Promise<OpenedDeps> {
  return openDeps(
    parseConfig(env),
    { clock: systemClock, random: systemRandom, log: makeLog('warn', {}) },
    reviveRetiredKeys,
  );
}
