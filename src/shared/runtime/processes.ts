/**
 * Which processes run, and which root keys they hold. A root key that one of them lacks is inert: no process that would
 * wrap with it starts, and no rotation to it begins.
 */
import { hostname } from 'node:os';
import { AppError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import { SYSTEM_TENANT_ID } from '../store/access/tenants.ts';
import {
  deleteProcess,
  listLiveProcesses,
  type ProcessDoc,
  SILENT_MS,
  saveSignOfLife,
} from '../store/keys/processes.ts';
import type { Deps } from './deps.ts';

type ProcessDeps = Pick<Deps, 'database' | 'clock' | 'random' | 'log' | 'keyProvider'> & {
  secrets: Pick<Deps['secrets'], 'name'>;
};

/** A sign of life is given this often: some may get lost before a process counts as gone. */
const BEAT_MS = 5_000;

/** `end`: this process is forgotten, and counts as gone at once. */
export type Announcement = { end(): Promise<void> };

/**
 * Announces this process until `end`. Throws `config_invalid` when another process lacks the root key that this one
 * would wrap with.
 */
export async function announceProcess(deps: ProcessDeps): Promise<Announcement> {
  await assertHeldByAll(deps, await deps.keyProvider.currentKeyId());
  const self = describe(deps);
  await saveSignOfLife(deps.database, self);
  const ended = new AbortController();
  const beating = keepBeating(deps, self, ended.signal);
  return {
    end: async () => {
      ended.abort();
      await beating;
      await deleteProcess(deps.database, self._id).catch((err) =>
        deps.log.debug({ err }, 'this process is thought to run for a while'),
      );
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

async function keepBeating(deps: ProcessDeps, self: Omit<ProcessDoc, 'seenAt'>, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await deps.clock.sleep(BEAT_MS, ended);
    if (ended.aborted) return;
    await saveSignOfLife(deps.database, self).catch((err) => deps.log.debug({ err }, 'no sign of life was given'));
  }
}

/** Throws `config_invalid`, naming the processes, unless every one that runs can unwrap what `keyId` wraps. */
export async function assertHeldByAll(deps: Pick<ProcessDeps, 'database' | 'keyProvider'>, keyId: string) {
  const running = await listLiveProcesses(deps.database);
  const lacking = running.filter((one) => !holds(one, deps.keyProvider.name, keyId));
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

/** The processes that still put new secrets elsewhere than into `store`, by name. Throws `store_unavailable`. */
export async function writersElsewhere({ database }: Pick<Deps, 'database'>, store: string): Promise<string[]> {
  const running = await listLiveProcesses(database);
  return running.filter((one) => one.secretStore !== store).map(nameOf);
}
