/** Verifies a tenant's log in the database: with its MACs, its head, and its stored checkpoints. */
import { AppError } from '../platform/errors.ts';
import type { Deps } from '../runtime/deps.ts';
import { type CheckpointDoc, listCheckpoints } from '../store/audit/checkpoints.ts';
import { walkLog } from '../store/audit/entries.ts';
import { findHead } from '../store/audit/heads.ts';
import type { ChainLink } from './chain-link.ts';
import { verifierKeysOf } from './export.ts';
import { openNote, originOf, parseCheckpoint } from './signed-note.ts';
import { type CheckedPoint, type Finding, type VerifyReport, verifyLog } from './verify.ts';

type VerifyDeps = Pick<Deps, 'database' | 'sealer'>;

/**
 * Checks everything that was chained before the call. `outside`: checkpoints that were kept elsewhere. Throws
 * `store_unavailable`, `key_unavailable`.
 */
export async function verifyStoredLog(
  deps: VerifyDeps,
  tenantId: string,
  outside: CheckedPoint[] = [],
): Promise<VerifyReport> {
  const before = await headSeq(deps, tenantId);
  const stored = await storedPoints(deps, tenantId);
  // As links, not as entries: somebody may have written anything there.
  const entries: AsyncIterable<ChainLink> = walkLog(deps.database, { tenantId });
  const report = await verifyLog(entries, {
    checkpoints: [...stored.points, ...outside],
    checkMac: (entry) => checkMac(deps, tenantId, entry),
    head: { before, after: () => headSeq(deps, tenantId) },
  });
  return { ...report, findings: [...report.findings, ...stored.findings] };
}

async function headSeq({ database }: VerifyDeps, tenantId: string): Promise<number> {
  return (await findHead(database, tenantId))?.seq ?? 0;
}

/** A MAC under a key that does not exist is as wrong as any other. */
async function checkMac({ sealer }: VerifyDeps, tenantId: string, { hash, mac }: ChainLink): Promise<boolean> {
  try {
    return await sealer.checkMac(tenantId, hash, mac);
  } catch (error) {
    if (error instanceof AppError && error.code === 'secret_unreadable') return false;
    throw error;
  }
}

async function storedPoints(deps: VerifyDeps, tenantId: string) {
  const keys = await verifierKeysOf(deps, tenantId);
  const docs = await listCheckpoints(deps.database, tenantId);
  const points: CheckedPoint[] = [];
  const findings: Finding[] = [];
  for (const { seq, hash, note } of docs) {
    if (isSigned({ seq, hash, note }, tenantId, keys)) points.push({ seq, hash, kept: 'inside' });
    else
      findings.push({
        kind: 'checkpoint_invalid',
        seq,
        entryId: null,
        about: 'the stored checkpoint bears no valid signature',
      });
  }
  return { points, findings };
}

function isSigned(doc: Pick<CheckpointDoc, 'seq' | 'hash' | 'note'>, tenantId: string, keys: string[]): boolean {
  const text = openNote(doc.note, keys);
  const checkpoint = text === null ? null : parseCheckpoint(text);
  return checkpoint?.origin === originOf(tenantId) && checkpoint.seq === doc.seq && checkpoint.hash === doc.hash;
}
