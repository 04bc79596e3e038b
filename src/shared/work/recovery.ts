import { rmSync } from 'node:fs';
import type { JobName } from '../queue/jobs.ts';
import { releaseLeases } from '../store/lease.ts';
import type { Job, WorkerDeps } from './job.ts';
import type { OpenAction, Taking } from './journal.ts';
import { ABANDONED_SHARE } from './leases.ts';

/**
 * Takes up the journals of dead processes; a journal is removed when all of it is settled. Answers come first, because they
 * exist only there. A credential that was leased, and for which nothing was sent, is free again at once: its refresh token
 * is unspent. One for which something was sent, without an answer, waits until its lease ends.
 */
export async function recoverJournals(deps: WorkerDeps, jobs: ReadonlyMap<JobName, Job>): Promise<void> {
  for (const { path, open, takings } of deps.journal.abandoned(deps.config.leaseMs * ABANDONED_SHARE)) {
    for (const action of open) {
      if (action.stage === 'replied') await jobs.get(action.op as JobName)?.recover?.(action);
    }
    for (const taking of takings) await giveBack(deps, taking, open);
    rmSync(path, { force: true });
    if (open.length > 0) deps.log.info({ actions: open.length }, 'took up the journal of a process that is gone');
  }
}

function giveBack(deps: WorkerDeps, taking: Taking, open: OpenAction[]): Promise<void> {
  const sent = new Set(open.filter(({ stage, holder }) => stage !== 'leased' && holder === taking.holder).map(idOf));
  const ids = taking.ids.filter((id) => !sent.has(id));
  return releaseLeases(deps.database, taking.in, { ids, holder: taking.holder });
}

function idOf({ id }: OpenAction): string {
  return id;
}
