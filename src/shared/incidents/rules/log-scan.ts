/**
 * Shows the rules what is new on a tenant's log. Observations are entries of the log, so nothing more is written when a token
 * is released; what was missed while no worker ran is seen later, from where the last one stopped.
 */
import { listEntriesOfTypes } from '../../store/audit/entries-for-rules.ts';
import { findHead, settleDetection } from '../../store/audit/heads.ts';
import { findDetectCursor, moveDetectCursor } from '../../store/compromise/detect-cursors.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { fileFinding } from '../case-file.ts';
import type { Rule } from './contract.ts';
import { observationOf } from './observation.ts';
import { judge } from './rule-evaluation.ts';

const BATCH_SIZE = 1_000;

/** Entries of this type were judged when they came in, from their events. */
const JUDGED_BEFORE = 'alert.accepted';

/** Reads on to the end of the log, or until `signal` aborts; the cursor is moved after each batch. */
export async function scanLog(
  deps: WorkerDeps,
  rules: readonly Rule[],
  tenantId: string,
  signal: AbortSignal,
): Promise<void> {
  const { database } = deps;
  const head = await findHead(database, tenantId);
  if (!head) return;
  let seq = await findDetectCursor(database, tenantId);
  while (seq < head.seq) {
    if (signal.aborted) return;
    const next = await scanBatch(deps, rules, { tenantId, after: seq, upTo: head.seq });
    // False: another worker reads the same log. It goes on.
    if (!(await moveDetectCursor(database, { tenantId, from: seq, to: next }))) return;
    seq = next;
  }
  await settleDetection(database, { tenantId, seq: head.seq });
}

type Stretch = { tenantId: string; after: number; upTo: number };

/** Resolves to the place up to which all is seen. A batch that is judged twice adds nothing: its findings are in their cases already. */
async function scanBatch(
  deps: WorkerDeps,
  rules: readonly Rule[],
  { tenantId, after, upTo }: Stretch,
): Promise<number> {
  const types = new Set(rules.flatMap((rule) => Object.keys(rule.watches)));
  types.delete(JUDGED_BEFORE);
  const stretch = { tenantId, types: [...types], after, upTo };
  const entries = await listEntriesOfTypes(deps.database, stretch, BATCH_SIZE);
  if (entries.length === 0) return upTo;
  const observations = entries.map(observationOf);
  for (const judged of await judge(deps, rules, { tenantId, observations, before: entries[0]!.seq })) {
    await fileFinding(deps, { ...judged, tenantId, alert: null });
  }
  return entries.length < BATCH_SIZE ? upTo : entries.at(-1)!.seq;
}
