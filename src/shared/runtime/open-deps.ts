import { BullMQOtel } from 'bullmq-otel';
import type { Logger } from 'pino';
import { takeLateValues } from '../keys/retired-key-values.ts';
import type { Clock } from '../platform/clock.ts';
import type { Config } from '../platform/config/parse.ts';
import type { Random } from '../platform/random.ts';
import { loadCatalogue } from '../providers/catalogue.ts';
import { assertRedis, openHints } from '../queue/hints.ts';
import { assertKeysAvailable, loadKeyProvider } from '../sealing/key-providers/load.ts';
import { makeVault } from '../sealing/sealer.ts';
import { openSecretStores } from '../sealing/secret-stores/open.ts';
import { makeCommitter } from '../store/commit.ts';
import { openDatabase } from '../store/database.ts';
import type { Deps } from './deps.ts';
import { announceProcess } from './processes.ts';

export type OpenedDeps = Deps & {
  /** Waits for writes in hand, then closes every connection. */
  close(): Promise<void>;
};

const EVICT_EVERY_MS = 60_000;

type Given = { clock: Clock; random: Random; log: Logger };

/** Opens what both processes need, and refuses to start on what would fail later. Throws `config_invalid` and others. */
export async function openDeps(config: Config, given: Given): Promise<OpenedDeps> {
  const { clock, random, log } = given;
  const keyProvider = await loadKeyProvider(config, { clock, random });
  const stores = await openSecretStores(config, { clock, random });
  const providers = await loadCatalogue(config.providers, {
    clock,
    random,
    timeoutMs: config.KEYTURN_CALL_TIMEOUT_SECONDS,
  });
  await assertRedis(config.REDIS_URL);
  const database = await openDatabase(config.MONGODB_URI, config.KEYTURN_DATABASE);
  const dataKeys = database.collection('data_keys');
  const ready = assertKeysAvailable({ dataKeys, keyProvider }).then(() =>
    announceProcess({ database, clock, random, log, keyProvider, secrets: stores }),
  );
  const announcement = await ready.catch(async (error) => {
    await database.close();
    throw error;
  });
  const vault = makeVault({
    dataKeys,
    keyProvider,
    clock,
    random,
    maxAgeMs: config.KEYTURN_KEY_CACHE_SECONDS,
    graceMs: config.KEYTURN_KEY_GRACE_SECONDS,
    refreshMs: config.KEYTURN_KEY_REFRESH_SECONDS,
  });
  const hints = openProducer(config, log);
  const committer = makeCommitter(database);
  const late = { database, commit: committer.commit, clock, random, log, vault };
  const ended = new AbortController();
  void evict(clock, vault, ended.signal);
  const close = async () => {
    ended.abort();
    await committer.idle();
    await hints.close();
    vault.close();
    await announcement.end();
    await database.close();
  };
  const secrets = takeLateValues(late, stores);
  const { commit } = committer;
  return { config, ...given, database, commit, vault, secrets, keyProvider, providers, hints, close };
}

function openProducer(config: Config, log: Logger) {
  const settings = {
    redisUrl: config.REDIS_URL,
    prefix: config.KEYTURN_QUEUE_PREFIX,
    partitions: config.KEYTURN_QUEUE_PARTITIONS,
    telemetry: new BullMQOtel({ tracerName: 'keyturn' }),
  };
  return openHints(settings, (err) => log.debug({ err }, 'Redis connection'));
}

async function evict(clock: Clock, vault: { evictExpired(): void }, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await clock.sleep(EVICT_EVERY_MS, ended);
    vault.evictExpired();
  }
}
