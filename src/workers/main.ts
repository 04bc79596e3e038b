import { hostname } from 'node:os';
import { systemClock } from '../shared/clock.ts';
import { parseConfig } from '../shared/config.ts';
import { toAppError } from '../shared/errors.ts';
import { newId } from '../shared/ids.ts';
import { makeLog } from '../shared/log.ts';
import { openDeps } from '../shared/open-deps.ts';
import { systemRandom } from '../shared/random.ts';
import { openJournal } from './journal.ts';
import { runWorkers } from './run.ts';

async function main(): Promise<void> {
  const config = parseConfig(process.env);
  const clock = systemClock;
  const random = systemRandom;
  const workerId = newId('worker', { clock, random });
  const log = makeLog(config.KEYTURN_LOG_LEVEL, { process: 'workers', host: hostname() });
  const deps = await openDeps(config, { clock, random, log });
  const journal = openJournal(config.KEYTURN_JOURNAL_DIR, workerId, clock);
  const workers = await runWorkers({ ...deps, journal, workerId });
  const stop = async () => {
    log.info('stopping: work in hand is finished first');
    await workers.stop();
    await deps.close();
    journal.close();
    log.info('stopped');
  };
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => void stop());
}

main().catch((thrown) => {
  const err = toAppError(thrown);
  if (err.code !== 'config_invalid') makeLog('error', { process: 'workers' }).fatal({ err }, 'cannot start');
  process.stderr.write(`${err.message}\n`);
  process.exit(1);
});
