import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { reviveRetiredKeys } from '../src/shared/keys/rotation/retired-key-values.ts';
import { systemClock } from '../src/shared/platform/clock.ts';
import { type Config, parseConfig } from '../src/shared/platform/config/parse.ts';
import { makeLog } from '../src/shared/platform/log.ts';
import { systemRandom } from '../src/shared/platform/random.ts';
import { type OpenedDeps, openDeps } from '../src/shared/runtime/open-deps.ts';
import type { CredentialDoc } from '../src/shared/store/lifecycle/credentials.ts';
import type { EventDoc } from '../src/shared/store/lifecycle/events.ts';
import { openJournal } from '../src/shared/work/journal.ts';
import { openConsumers, type RunningConsumers } from '../src/workers/consumers.ts';
import { testDatabase, testQueuePrefix, testRedisUrl } from './servers.ts';
import { until } from './signals.ts';

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
    KEYTURN_LEASE_SECONDS: '6',
    KEYTURN_LOG_LEVEL: 'silent',
    ...extra,
  };
}

/** The variables that set a service up on an authorization server of the harness. */
export function providerEnvironment(
  service: string,
  server: { issuer: string; clientId: string; clientSecret: string },
): Record<string, string> {
  const prefix = `KEYTURN_PROVIDER_${service.toUpperCase().replaceAll('-', '_')}`;
  return {
    KEYTURN_PROVIDERS: service,
    [`${prefix}_TYPE`]: 'oauth2',
    [`${prefix}_ISSUER`]: server.issuer,
    [`${prefix}_CLIENT_ID`]: server.clientId,
    [`${prefix}_CLIENT_SECRET`]: server.clientSecret,
  };
}

export type TestSystem = {
  deps: OpenedDeps;
  config: Config;
  /** The credential once it satisfies `condition`. */
  credential(query: Partial<CredentialDoc>, condition?: (doc: CredentialDoc) => boolean): Promise<CredentialDoc>;
  /** The event once it is settled. */
  settledEvent(id: string): Promise<EventDoc>;
  startWorkers(workerId?: string): Promise<RunningConsumers>;
  stop(): Promise<void>;
};

/** Dependencies and workers of one Keyturn in this process. */
export async function startSystem(env: Record<string, string>): Promise<TestSystem> {
  const config = parseConfig(env);
  const given = { clock: systemClock, random: systemRandom, log: makeLog(config.logLevel, {}) };
  const deps = await openDeps(config, given, reviveRetiredKeys);
  const running: { workers: RunningConsumers; close(): void }[] = [];
  return {
    deps,
    config,
    credential: (query, condition = () => true) =>
      until(
        async () => {
          const doc = await deps.database.collection('credentials').findOne(query as object);
          return doc && condition(doc) ? doc : null;
        },
        { what: `a credential like ${JSON.stringify(query)}`, timeoutMs: 20_000 },
      ),
    settledEvent: (id) =>
      until(
        async () => {
          const doc = await deps.database.collection('events').findOne({ _id: id });
          return doc && !['accepted', 'processing'].includes(doc.status) ? doc : null;
        },
        { what: `event ${id} to settle`, timeoutMs: 20_000 },
      ),
    startWorkers: async (workerId = `wrk_${running.length}`) => {
      const journal = openJournal(config.journalDir, workerId, systemClock);
      const workers = await openConsumers({ ...deps, journal, workerId });
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
