/** Carries incidents through the playbook. */

import { loadRotators, type Rotators } from '../../credentials/rotation/rotators/contract.ts';
import { backoff } from '../../platform/backoff.ts';
import { once } from '../../platform/concurrency/once.ts';
import { toAppError } from '../../platform/errors.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { postpone } from '../record.ts';
import { runPlaybook } from './steps.ts';

export const createRespondJob = defineJob('respond', (deps) => {
  const loading = once(loadRotators);
  return {
    async process(payload, signal) {
      const rotators = await loading();
      await Promise.all(payload.ids.map((id) => respond({ ...deps, rotators }, id, signal)));
    },
  };
});

const ROUNDS = 5;

/** Never throws: what goes wrong has the incident looked at again. */
async function respond(deps: WorkerDeps & { rotators: Rotators }, id: string, signal: AbortSignal): Promise<void> {
  for (let round = 1; !signal.aborted; round += 1) {
    try {
      return await runPlaybook(deps, id, signal);
    } catch (thrown) {
      const error = toAppError(thrown);
      // Someone else changed what was read: look again at once, a few times.
      if (error.code === 'interrupted' && error.retryAfterMs === undefined && round < ROUNDS) continue;
      await later(deps, id, error).catch((err) => deps.log.warn({ err, incidentId: id }, 'a containment waits'));
      return;
    }
  }
}

async function later(deps: WorkerDeps, id: string, error: ReturnType<typeof toAppError>): Promise<void> {
  deps.log.warn({ err: error, incidentId: id }, 'a containment is tried again');
  const incident = await deps.database.collection('incidents').findOne({ _id: id });
  if (!incident) return;
  const delayMs = error.retryAfterMs ?? backoff(incident.attempts + 1, deps.random.fraction());
  await postpone(deps, incident, { delayMs, counts: error.retry !== 'later' });
}
