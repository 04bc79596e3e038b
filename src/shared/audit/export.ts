/**
 * The log as a file that proves itself: NDJSON of a header with the public keys, the entries in the order of the chain, and
 * a signed checkpoint of the last one. `keyturn audit verify --export` checks it without a database.
 */

import { publicKeys } from '../keys/signing-keys.ts';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import type { CheckpointDoc } from '../store/audit/checkpoints.ts';
import { walkLog } from '../store/audit/entries.ts';
import type { Entry } from '../store/audit/inbox.ts';
import { makeEntry } from '../store/entry.ts';
import { chainEntries } from './chain.ts';
import { publishCheckpoint } from './checkpoints.ts';
import { originOf, rawKey, verifierKey } from './signed-note.ts';

export const EXPORT_FORMAT = 'keyturn-audit-export/1';

type ExportDeps = Pick<Deps, 'database' | 'sealer' | 'commit' | 'clock' | 'random' | 'config' | 'log'>;

/** Entries of one chunk, which share the cost of a call. */
const CHUNK = 500;

/** The verifier keys of a tenant's checkpoints, newest first. */
export async function verifierKeysOf(deps: Pick<Deps, 'database'>, tenantId: string): Promise<string[]> {
  const { keys } = await publicKeys(deps);
  const origin = originOf(tenantId);
  return keys.filter(({ kty }) => kty === 'OKP').map((jwk) => verifierKey(origin, rawKey(jwk)));
}

/** Records that the log was exported, and signs the head that the export ends with. That entry is in the export. */
export async function beginExport(deps: ExportDeps, tenantId: string, actor: Entry['actor']): Promise<CheckpointDoc> {
  await deps.commit({ operations: [], entries: [makeEntry(deps, { tenantId, type: 'audit.exported', actor })] });
  await chainEntries(deps, tenantId);
  const checkpoint = await publishCheckpoint(deps, tenantId);
  if (!checkpoint) throw new AppError('conflict');
  return checkpoint;
}

/** The lines of an export up to a checkpoint, a few hundred at a time. */
export async function* exportLines(deps: Pick<Deps, 'database'>, checkpoint: CheckpointDoc): AsyncGenerator<string> {
  const { tenantId, seq, note, at } = checkpoint;
  const verifierKeys = await verifierKeysOf(deps, tenantId);
  yield line({ kind: 'header', format: EXPORT_FORMAT, tenantId, exportedAt: at, verifierKeys });
  let chunk = '';
  let count = 0;
  for await (const entry of walkLog(deps.database, { tenantId, upTo: seq, batchSize: CHUNK })) {
    chunk += line({ kind: 'entry', entry });
    count += 1;
    if (count % CHUNK !== 0) continue;
    yield chunk;
    chunk = '';
  }
  yield chunk + line({ kind: 'checkpoint', note });
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
