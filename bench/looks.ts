/** Looks at processes and stores, for the large measures. */
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import type { Deps } from '../src/shared/runtime/deps.ts';

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
