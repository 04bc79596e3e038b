import { reviveRetiredKeys } from '../src/shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../src/shared/platform/clock.ts';
import { parseConfig } from '../src/shared/platform/config/parse.ts';
import { makeLog } from '../src/shared/platform/log.ts';
import { systemRandom } from '../src/shared/platform/random.ts';
import { type OpenedDeps, openDeps } from '../src/shared/runtime/open-deps.ts';

/** The parts of a Keyturn with this environment, opened in this process as its own processes open them. */
export function openParts(env: Record<string, string | undefined>): Promise<OpenedDeps> {
  const config = parseConfig(env);
  const given = { clock: systemClock, random: systemRandom, log: makeLog(config.logLevel, {}) };
  return openDeps(config, given, reviveRetiredKeys);
}
