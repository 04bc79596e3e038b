import { BullMQOtel } from 'bullmq-otel';
import type { Logger } from 'pino';
import type { Clock } from '../platform/clock.ts';
import type { Config } from '../platform/config/parse.ts';
import type { Random } from '../platform/random.ts';
import { loadCatalogue } from '../providers/catalogue.ts';
import { assertRedis } from '../queue/connections.ts';
import { openHints } from '../queue/hints.ts';
import { loadKeyProvider } from '../sealing/key-providers/load.ts';
import { assertKeysAvailable } from '../sealing/root-keys.ts';
import { type ManagedSealer, makeSealer } from '../sealing/sealer.ts';
import { openSecretStores, type SecretStores } from '../sealing/secret-stores/open.ts';
import { makeCommitter } from '../store/commit.ts';
import { openDatabase } from '../store/database.ts';
import { makeDataKeyStore } from '../store/keys/data-keys.ts';
import type { Deps } from './deps.ts';
import { announceProcess } from './processes.ts';

export type OpenedDeps = Deps & {
  /** Waits for writes in hand, then closes every connection. */
  close(): Promise<void>;
};

const EVICT_EVERY_MS = 60_000;

/** Watching the secret stores is the task of a floor above: it is an argument that every process must give. */
export type WatchSecretStores = (
  deps: Pick<Deps, 'database' | 'commit' | 'clock' | 'random' | 'log'> & { sealer: Pick<ManagedSealer, 'sealVersion'> },
  stores: SecretStores,
) => SecretStores;

type Given = { clock: Clock; random: Random; log: Logger };

/** Opens what both processes need, and refuses to start on what would fail later. Throws `config_invalid` and others. */
export async function openDeps(
  config: Config,
  given: Given,
  watchSecretStores: WatchSecretStores,
): Promise<OpenedDeps> {
  const { clock, random, log } = given;
  const keyProvider = await loadKeyProvider(config, { clock, random });
  const stores = await openSecretStores(config, { clock, random });
  const providers = await loadCatalogue(config.providers, {
    clock,
    random,
    timeoutMs: config.callTimeoutMs,
  });
  await assertRedis(config.redisUrl);
  const database = await openDatabase(config.mongodbUri, config.databaseName);
  const dataKeys = makeDataKeyStore(database);
  const ready = assertKeysAvailable({ dataKeys, keyProvider }).then(() =>
    announceProcess({ database, clock, random, log, keyProvider, secrets: stores }),
  );
  const announcement = await ready.catch(async (error) => {
    await database.close();
    throw error;
  });
  const sealer = makeSealer({
    dataKeys,
    keyProvider,
    clock,
    random,
    maxAgeMs: config.keyCacheMs,
    graceMs: config.keyGraceMs,
    refreshMs: config.keyRefreshMs,
  });
  const hints = openProducer(config, log);
  const committer = makeCommitter(database);
  const ended = new AbortController();
  void evict(clock, sealer, ended.signal);
  const close = async () => {
    ended.abort();
    await committer.idle();
    await hints.close();
    sealer.close();
    await announcement.end();
    await database.close();
  };
  const { commit } = committer;
  const secrets = watchSecretStores({ database, commit, clock, random, log, sealer }, stores);
  return { config, ...given, database, commit, sealer, secrets, keyProvider, providers, hints, close };
}

function openProducer(config: Config, log: Logger) {
  const settings = {
    redisUrl: config.redisUrl,
    prefix: config.queuePrefix,
    partitions: config.queuePartitions,
    telemetry: new BullMQOtel({ tracerName: 'keyturn' }),
  };
  return openHints(settings, (err) => log.debug({ err }, 'Redis connection'));
}

async function evict(clock: Clock, sealer: { evictExpired(): void }, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await clock.sleep(EVICT_EVERY_MS, ended);
    sealer.evictExpired();
  }
}
