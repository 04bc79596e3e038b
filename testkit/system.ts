import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { systemClock } from '../src/shared/platform/clock.ts';
import type { Config } from '../src/shared/platform/config/parse.ts';
import { makeMetrics } from '../src/shared/runtime/metrics.ts';
import type { OpenedDeps } from '../src/shared/runtime/open-deps.ts';
import type { CredentialDoc } from '../src/shared/store/lifecycle/credentials.ts';
import type { EventDoc } from '../src/shared/store/lifecycle/events.ts';
import { openJournal } from '../src/shared/work/journal.ts';
import { type RunningWorkers, startWorkers } from '../src/workers/run.ts';
import { openParts } from './deps.ts';
import { testDatabase, testQueuePrefix, testRedisUrl } from './servers/for-tests.ts';
import { until } from './until.ts';

export const ROOT_KEY = Buffer.alloc(32, 7).toString('base64');

/** Environment of a Keyturn of its own: a database, a queue prefix and a journal that no other test uses. */
export function testEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  const database = testDatabase();
  const dir = mkdtempSync(join(tmpdir(), 'keyturn-test-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return {
    MONGODB_URI: database.uri,
    REDIS_URL: testRedisUrl(),
    KEYTURN_DATABASE: database.name,
    KEYTURN_QUEUE_PREFIX: testQueuePrefix(),
    KEYTURN_ROOT_KEYS: ROOT_KEY,
    KEYTURN_JOURNAL_DIR: join(dir, 'journal'),
    KEYTURN_SECRET_DIR: join(dir, 'secrets'),
    KEYTURN_OCSF_DIR: join(dir, 'ocsf'),
    KEYTURN_SWEEP_SECONDS: '0.2',
    // Long, as in production: a worker that a busy machine holds up is not taken for dead. Tests that kill one make it short.
    KEYTURN_LEASE_SECONDS: '30',
    KEYTURN_LOG_LEVEL: 'silent',
    ...extra,
  };
}

export type TestSystem = {
  deps: OpenedDeps;
  config: Config;
  /** The credential once it satisfies `condition`. */
  credential(query: Partial<CredentialDoc>, condition?: (doc: CredentialDoc) => boolean): Promise<CredentialDoc>;
  /** The event once it is settled. */
  settledEvent(id: string): Promise<EventDoc>;
  startWorkers(workerId?: string): Promise<RunningWorkers>;
  stop(): Promise<void>;
};

/** Dependencies and workers of one Keyturn in this process. */
export async function startSystem(env: Record<string, string>): Promise<TestSystem> {
  const deps = await openParts(env);
  const { config } = deps;
  const running: { workers: RunningWorkers; close(): void }[] = [];
  return {
    deps,
    config,
    credential: (query, condition = () => true) =>
      until(
        async () => {
          const doc = await deps.database.collection('credentials').findOne(query as object);
          return doc && condition(doc) ? doc : null;
        },
        { what: `a credential like ${JSON.stringify(query)}` },
      ),
    settledEvent: (id) =>
      until(
        async () => {
          const doc = await deps.database.collection('events').findOne({ _id: id });
          return doc && !['accepted', 'processing'].includes(doc.status) ? doc : null;
        },
        { what: `event ${id} to settle` },
      ),
    startWorkers: async (workerId = `wrk_${running.length}`) => {
      const journal = openJournal(config.journalDir, workerId, systemClock);
      const workers = await startWorkers({ ...deps, metrics: makeMetrics(), journal, workerId });
      running.push({ workers, close: journal.close });
      return workers;
    },
    stop: async () => {
      await Promise.all(running.map(({ workers }) => workers.stop()));
      for (const { close } of running) close();
      await deps.close();
    },
  };
}
