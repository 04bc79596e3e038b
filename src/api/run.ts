import { bootstrap } from '../shared/access/bootstrap.ts';
import { reviveRetiredKeys } from '../shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../shared/platform/clock.ts';
import { aborted } from '../shared/platform/concurrency/aborted.ts';
import type { Config } from '../shared/platform/config/parse.ts';
import { AppError } from '../shared/platform/errors.ts';
import { makeLog } from '../shared/platform/log.ts';
import { systemRandom } from '../shared/platform/random.ts';
import { makeMetrics, watchProcess } from '../shared/runtime/metrics.ts';
import { openDeps } from '../shared/runtime/open-deps.ts';
import { makeApp } from './app.ts';
import type { App } from './http/context.ts';

const IDLE_LOOK_MS = 50;

export type RunOptions = {
  /** Shows the first admin key, once, to whoever started the process; never through the log. */
  showKey(key: string): void;
};

/**
 * Serves until `stopping` aborts, then finishes the requests in hand within KEYTURN_DRAIN_SECONDS and closes everything.
 * Throws what keeps the process from starting.
 */
export async function runApi(config: Config, stopping: AbortSignal, { showKey }: RunOptions): Promise<void> {
  const log = makeLog(config.logLevel, { process: 'api' });
  const deps = await openDeps(config, { clock: systemClock, random: systemRandom, log }, reviveRetiredKeys);
  const metrics = makeMetrics();
  watchProcess(metrics);
  try {
    const key = await bootstrap(deps);
    if (key !== null) showKey(key);
    const app = await makeApp(deps, { metrics, stopping });
    const address = await listen(app, config);
    log.info({ address }, 'listening');
    await aborted(stopping);
    log.info('stopping');
    await drain(app, config.drainMs);
  } finally {
    await deps.close();
  }
  log.info('stopped');
}

/** Throws `config_invalid` when the address cannot be had. */
async function listen(app: App, { host, port }: Config): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (cause) {
    const detail = `KEYTURN_HOST and KEYTURN_PORT: cannot listen on ${host}, port ${port} (${(cause as { code?: string }).code}).`;
    throw new AppError('config_invalid', { cause, detail });
  }
}

/** Stops accepting and lets requests in hand end; cuts off what is not done in time. */
async function drain(app: App, limitMs: number): Promise<void> {
  const ended = new AbortController();
  const closed = app.close().finally(() => ended.abort());
  const giveUpAt = systemClock.now() + limitMs;
  while (!ended.signal.aborted && systemClock.now() < giveUpAt) {
    await systemClock.sleep(IDLE_LOOK_MS, ended.signal);
    // A client keeps its connection after its answer; it was busy when the server closed the idle ones.
    app.server.closeIdleConnections();
  }
  app.server.closeAllConnections();
  await closed;
}
