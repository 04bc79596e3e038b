/** What the large measures are made of: a stub with a pace, many idle credentials, and looks at processes and stores. */
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import { systemClock } from '../src/shared/platform/clock.ts';
import { newId } from '../src/shared/platform/ids.ts';
import type { Deps } from '../src/shared/runtime/deps.ts';
import type { CredentialDoc } from '../src/shared/store/lifecycle/credentials.ts';
import { seedCredentials } from './seed.ts';

const PART = 2_000;
const DAY_MS = 86_400_000;

/**
 * Idle credentials, due within the next day but not in the next hour. What stands for their sealed values has the true size
 * and does not compress, as theirs do; it is never opened.
 */
export async function seedIdle(deps: Deps, options: { count: number; service: string; tenantId: string }) {
  const credentials = deps.database.collection('credentials');
  const [id] = await seedCredentials(deps, { ...options, count: 1, from: -Math.floor(systemClock.now()) });
  const model = (await credentials.findOne({ _id: id! }))!;
  for (let done = 0; done < options.count; done += PART) {
    const size = Math.min(PART, options.count - done);
    const docs = Array.from({ length: size }, () => idle(deps, model));
    await credentials.insertMany(docs, { ordered: false });
  }
  await credentials.deleteOne({ _id: id! });
}

function idle(deps: Deps, model: CredentialDoc): CredentialDoc {
  const _id = newId('credential', deps);
  const dueAt = deps.clock.now() + DAY_MS / 24 + deps.random.fraction() * DAY_MS;
  const fingerprints = [0, 1].map(() => `v1.${deps.random.bytes(32).toString('base64url')}`);
  const jwe = deps.random.bytes(Math.round((model.secret!.jwe!.length * 3) / 4)).toString('base64url');
  const secret = { ...model.secret!, jwe };
  return { ...model, _id, subject: _id, fingerprints, secret, due: { refresh: new Date(dueAt) } };
}

/** Resident memory of a process, megabytes. NaN where the system has no /proc. */
export function memoryMb(pid: number | undefined): number {
  try {
    const kb = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Math.round(Number(kb) / 1024);
  } catch {
    return Number.NaN;
  }
}

/** Memory that Redis uses for data, megabytes, with one decimal. */
export async function redisMb(url: string): Promise<number> {
  const redis = new Redis(url, { lazyConnect: true });
  try {
    const info = await redis.info('memory');
    return Math.round(Number(/used_memory:(\d+)/.exec(info)?.[1]) / 104_857.6) / 10;
  } finally {
    redis.disconnect();
  }
}

/** Operations that MongoDB has carried out since it started, of all kinds, and connections that are open. */
export async function mongoStatus(deps: Pick<Deps, 'database'>): Promise<{ operations: number; connections: number }> {
  const { opcounters, connections } = await deps.database.client.db('admin').command({ serverStatus: 1 });
  const { insert, query, update, delete: removed, getmore, command } = opcounters as Record<string, number>;
  const operations = [insert, query, update, removed, getmore, command].reduce<number>((sum, n) => sum + (n ?? 0), 0);
  return { operations, connections: (connections as { current: number }).current };
}

/** Sizes of a collection and its indexes, bytes per document. */
export async function bytesPerDocument(deps: Pick<Deps, 'database'>, name: string): Promise<Record<string, number>> {
  const [stats] = await deps.database.db
    .collection(name)
    .aggregate([{ $collStats: { storageStats: {} } }])
    .toArray();
  const { count, size, storageSize, indexSizes } = stats!.storageStats as {
    count: number;
    size: number;
    storageSize: number;
    indexSizes: Record<string, number>;
  };
  const each = (bytes: number) => Math.round(bytes / count);
  return {
    'document, uncompressed': each(size),
    'document, on disk': each(storageSize),
    ...Object.fromEntries(Object.entries(indexSizes).map(([index, bytes]) => [`index ${index}`, each(bytes)])),
    'all indexes': each(Object.values(indexSizes).reduce((sum, bytes) => sum + bytes, 0)),
  };
}
