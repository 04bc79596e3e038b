/**
 * Signed heads of the log (promise 7). Only a checkpoint that somebody keeps outside the database shows a tail that was cut, or
 * a chain that was rewritten with the keys in hand; so each is handed to subscribers (as the entry `audit.checkpoint`) and,
 * where configured, appended to a file.
 */
import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { signingKey } from '../keys/signing-keys.ts';
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { type CheckpointDoc, findLatestCheckpoint } from '../store/audit/checkpoints.ts';
import { type ChainHead, findHead } from '../store/audit/heads.ts';
import { makeEntry } from '../store/entry.ts';
import { CHECKPOINT_ENTRY } from './chain.ts';
import { checkpointText, originOf, rawKey, signNote, verifierKey } from './signed-note.ts';

type CheckpointDeps = Pick<Deps, 'database' | 'sealer' | 'commit' | 'clock' | 'random' | 'config' | 'log'>;

/** Each time the log grew before its head was committed as signed. */
const MAX_TRIES = 10;

/**
 * The newest checkpoint of a tenant, made now when entries have come since the last one. Null for a log without entries.
 * Throws `conflict` when the log grows faster than it can be signed.
 */
export async function publishCheckpoint(deps: CheckpointDeps, tenantId: string): Promise<CheckpointDoc | null> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const head = await findHead(deps.database, tenantId);
    if (!head) return null;
    const latest = await findLatestCheckpoint(deps.database, tenantId);
    if (latest && !head.unsignedSince) return latest;
    const { checkpoint, line } = await signHead(deps, head);
    await keepOutside(deps, tenantId, line);
    if ((await commitCheckpoint(deps, checkpoint)) === 'committed') return checkpoint;
  }
  throw new AppError('conflict', { detail: 'The log grows faster than its head can be signed; try again.' });
}

async function signHead(deps: CheckpointDeps, head: ChainHead) {
  const { tenantId, seq, hash } = head;
  const origin = originOf(tenantId);
  const { kid, key, publicJwk } = await signingKey(deps, 'checkpoint');
  const raw = rawKey(publicJwk);
  const at = new Date(deps.clock.now());
  const note = signNote(checkpointText({ origin, seq, hash, at: at.toISOString() }), origin, { key, raw });
  const checkpoint: CheckpointDoc = { _id: `${tenantId}:${seq}`, tenantId, seq, hash, note, kid, at };
  const line = { seq, hash, at: at.toISOString(), note, verifierKey: verifierKey(origin, raw) };
  return { checkpoint, line };
}

/** Appends it to the file of the tenant. Before the commit, so that a crash loses none; one too many is still true. */
async function keepOutside(deps: CheckpointDeps, tenantId: string, line: Record<string, unknown>): Promise<void> {
  const folder = deps.config.checkpointDir;
  if (folder === undefined) return;
  try {
    await mkdir(folder, { recursive: true });
    await appendFile(join(folder, `${encodeURIComponent(tenantId)}.jsonl`), `${JSON.stringify(line)}\n`, {
      mode: 0o600,
      flush: true,
    });
  } catch (err) {
    // A full disk must not end the publication by the other ways.
    deps.log.error({ err }, 'a checkpoint was not written to KEYTURN_CHECKPOINT_DIR');
  }
}

function commitCheckpoint(deps: CheckpointDeps, checkpoint: CheckpointDoc) {
  const { tenantId, seq, hash, note, kid } = checkpoint;
  return deps.commit({
    operations: [
      {
        in: 'audit_heads',
        update: { _id: tenantId, tenantId, seq, hash },
        set: { $unset: { unsignedSince: '' } },
      },
      { in: 'checkpoints', insert: checkpoint },
    ],
    entries: [
      makeEntry(deps, {
        tenantId,
        type: CHECKPOINT_ENTRY,
        actor: { kind: 'system', id: 'audit' },
        detail: { seq, hash, note, kid },
      }),
    ],
  });
}
