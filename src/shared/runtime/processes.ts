/**
 * Which processes run, and which root keys they hold. A root key that one of them lacks is inert: no process that would
 * wrap with it starts, and no rotation to it begins.
 */
import { hostname } from 'node:os';
import { AppError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import { SYSTEM_TENANT_ID } from '../store/access/tenants.ts';
import type { ProcessDoc } from '../store/keys/processes.ts';
import type { Deps } from './deps.ts';

type ProcessDeps = Pick<Deps, 'database' | 'clock' | 'random' | 'log' | 'keyProvider'> & {
  secrets: Pick<Deps['secrets'], 'name'>;
};

const BEAT_MS = 5_000;
/** A process that gave no sign of life for so long is gone. */
const SILENT_MS = 30_000;

export type Announcement = { end(): Promise<void> };

/**
 * Announces this process until `end`. Throws `config_invalid` when another process lacks the root key that this one
 * would wrap with.
 */
export async function announceProcess(deps: ProcessDeps): Promise<Announcement> {
  await assertHeldByAll(deps, await deps.keyProvider.currentKeyId());
  const self = describe(deps);
  await beat(deps, self);
  const ended = new AbortController();
  const beating = keepBeating(deps, self, ended.signal);
  return {
    end: async () => {
      ended.abort();
      await beating;
      await deps.database
        .collection('processes')
        .deleteOne({ _id: self._id, tenantId: SYSTEM_TENANT_ID })
        .catch((err) => deps.log.debug({ err }, 'this process is thought to run for a while'));
    },
  };
}

function describe(deps: ProcessDeps): Omit<ProcessDoc, 'seenAt'> {
  return {
    _id: newId('process', deps),
    tenantId: SYSTEM_TENANT_ID,
    host: hostname(),
    pid: process.pid,
    keyProvider: deps.keyProvider.name,
    keyIds: deps.keyProvider.heldKeyIds?.() ?? null,
    secretStore: deps.secrets.name,
    startedAt: new Date(deps.clock.now()),
  };
}

async function beat(deps: ProcessDeps, { _id, ...self }: Omit<ProcessDoc, 'seenAt'>): Promise<void> {
  const where = { _id, tenantId: SYSTEM_TENANT_ID };
  await deps.database
    .collection('processes')
    .updateOne(where, [{ $set: { ...self, seenAt: '$$NOW' } }], { upsert: true });
}

async function keepBeating(deps: ProcessDeps, self: Omit<ProcessDoc, 'seenAt'>, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await deps.clock.sleep(BEAT_MS, ended);
    if (!ended.aborted) await beat(deps, self).catch((err) => deps.log.debug({ err }, 'no sign of life was given'));
  }
}

/** The processes that run. Throws `store_unavailable`. */
export async function liveProcesses({ database }: Pick<Deps, 'database'>): Promise<ProcessDoc[]> {
  return await database
    .collection('processes')
    .find({
      tenantId: SYSTEM_TENANT_ID,
      $expr: { $gt: ['$seenAt', { $subtract: ['$$NOW', SILENT_MS] }] },
    })
    .sort({ _id: 1 })
    .toArray();
}

/** Throws `config_invalid`, naming the processes, unless every one that runs can unwrap what `keyId` wraps. */
export async function assertHeldByAll(deps: Pick<ProcessDeps, 'database' | 'keyProvider'>, keyId: string) {
  const lacking = (await liveProcesses(deps)).filter((one) => !holds(one, deps.keyProvider.name, keyId));
  if (lacking.length === 0) return;
  throw new AppError('config_invalid', {
    detail:
      `The root key ${keyId} is not known to ${lacking.map(nameOf).join(', ')}, which could not open what is wrapped ` +
      'with it. Put it into KEYTURN_ROOT_KEYS_STAGED of every process first, restart each, then make it the first of ' +
      `KEYTURN_ROOT_KEYS. A process that was killed counts for ${SILENT_MS / 1_000} seconds.`,
  });
}

function holds({ keyProvider, keyIds }: ProcessDoc, provider: string, keyId: string): boolean {
  return keyProvider === provider && (keyIds === null || keyIds.includes(keyId));
}

function nameOf({ pid, host }: ProcessDoc): string {
  return `process ${pid} on ${host}`;
}

/** Those that still put new secrets elsewhere than into `store`, by name. */
export async function writersElsewhere(deps: Pick<Deps, 'database'>, store: string): Promise<string[]> {
  return (await liveProcesses(deps)).filter((one) => one.secretStore !== store).map(nameOf);
}
