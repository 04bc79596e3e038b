import { rmSync } from 'node:fs';
import type { JobName } from '../shared/jobs.ts';
import type { Job, WorkerDeps } from './job.ts';
import { ABANDONED_SHARE } from './leases.ts';

/** Takes up what dead processes left in their journals; a journal is removed when all of it is settled. */
export async function recoverJournals(deps: WorkerDeps, jobs: ReadonlyMap<JobName, Job>): Promise<void> {
  for (const { path, open } of deps.journal.abandoned(deps.config.KEYTURN_LEASE_SECONDS * ABANDONED_SHARE)) {
    // Answers first: they exist only here.
    const ordered = open.toSorted((a, b) => Number(b.stage === 'replied') - Number(a.stage === 'replied'));
    for (const action of ordered) await jobs.get(action.op as JobName)?.recover?.(deps, action);
    rmSync(path, { force: true });
    if (open.length > 0) deps.log.info({ actions: open.length }, 'took up the journal of a process that is gone');
  }
}
