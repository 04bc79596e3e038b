/** Carries incidents through the playbook. */

import { loadRotators, type Rotators } from '../../credentials/rotation/rotators/catalogue.ts';
import { backoff } from '../../platform/backoff.ts';
import { toAppError } from '../../platform/errors.ts';
import { findIncidentById } from '../../store/compromise/incidents.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { postpone } from './record.ts';
import { runPlaybook } from './steps.ts';

export const createRespondJob = defineJob('respond', (deps) => ({
  async process(payload, signal) {
    const rotators = await loadRotators();
    await Promise.all(payload.ids.map((id) => respond({ ...deps, rotators }, id, signal)));
  },
}));

const MAX_ROUNDS = 5;

/** Never throws: after an error the incident is looked at again. */
async function respond(deps: WorkerDeps & { rotators: Rotators }, id: string, signal: AbortSignal): Promise<void> {
  for (let round = 1; !signal.aborted; round += 1) {
    try {
      return await runPlaybook(deps, id, signal);
    } catch (thrown) {
      const error = toAppError(thrown);
      // Someone else changed what was read: look again at once, a few times.
      if (error.code === 'interrupted' && error.retryAfterMs === undefined && round < MAX_ROUNDS) continue;
      await later(deps, id, error).catch((err) => deps.log.warn({ err, incidentId: id }, 'a containment waits'));
      return;
    }
  }
}

async function later(deps: WorkerDeps, id: string, error: ReturnType<typeof toAppError>): Promise<void> {
  deps.log.warn({ err: error, incidentId: id }, 'a containment is tried again');
  const incident = await findIncidentById(deps.database, id);
  if (!incident) return;
  const delayMs = error.retryAfterMs ?? backoff(incident.attempts + 1, deps.random.fraction());
  await postpone(deps, incident, { delayMs, counts: error.retry !== 'later' });
}
