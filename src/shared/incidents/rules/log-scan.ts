/**
 * Shows the rules what is new on a tenant's log. Signals are entries of the log: nothing more is written when a token is
 * released, and what was missed while no worker ran is seen later, from where the last one stopped.
 */
import { isDuplicateKey } from '../../platform/driver-errors.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { fileFinding } from '../case-file.ts';
import { observationOf, type Rule } from './contract.ts';
import { judge } from './rule-evaluation.ts';

const BATCH = 1_000;

/** Judged at once when they came in, from their events. */
const JUDGED_BEFORE = 'alert.accepted';

/** Reads on until the end of the log, or until `signal` aborts; the place is kept after each batch. */
export async function scanLog(
  deps: WorkerDeps,
  rules: readonly Rule[],
  tenantId: string,
  signal: AbortSignal,
): Promise<void> {
  const { database } = deps;
  const head = await database.collection('audit_heads').findOne({ _id: tenantId });
  if (!head) return;
  let seq = (await database.collection('detect_cursors').findOne({ _id: tenantId }))?.seq ?? 0;
  while (seq < head.seq) {
    if (signal.aborted) return;
    const next = await scanBatch(deps, rules, { tenantId, after: seq, last: head.seq });
    // Another worker reads the same log: it goes on.
    if (!(await moveCursor(deps, tenantId, seq, next))) return;
    seq = next;
  }
  await database.collection('audit_heads').updateOne({ _id: tenantId, seq: head.seq }, { $unset: { detectAt: '' } });
}

type Stretch = { tenantId: string; after: number; last: number };

/** Resolves to the place up to which all is seen. A batch that is seen twice finds the same, in the same cases. */
async function scanBatch(
  deps: WorkerDeps,
  rules: readonly Rule[],
  { tenantId, after, last }: Stretch,
): Promise<number> {
  const types = new Set(rules.flatMap((rule) => Object.keys(rule.watches)));
  types.delete(JUDGED_BEFORE);
  const where = { tenantId, type: { $in: [...types] }, seq: { $gt: after, $lte: last } };
  const entries = await deps.database.collection('audit').find(where).sort({ seq: 1 }).limit(BATCH).toArray();
  if (entries.length === 0) return last;
  const signals = entries.map(observationOf);
  for (const judged of await judge(deps, rules, { tenantId, signals, before: entries[0]!.seq })) {
    await fileFinding(deps, { ...judged, tenantId, alert: null });
  }
  return entries.length < BATCH ? last : entries.at(-1)!.seq;
}

async function moveCursor(deps: WorkerDeps, tenantId: string, from: number, to: number): Promise<boolean> {
  const cursors = deps.database.collection('detect_cursors');
  try {
    if (from === 0) await cursors.insertOne({ _id: tenantId, tenantId, seq: to });
    else return (await cursors.updateOne({ _id: tenantId, seq: from }, { $set: { seq: to } })).matchedCount === 1;
    return true;
  } catch (error) {
    if (isDuplicateKey(error)) return false;
    throw error;
  }
}
