import { toAppError } from '../platform/errors.ts';
import { PRIORITY } from '../queue/jobs.ts';
import type { Deps } from '../runtime/deps.ts';

/** Has the playbook look at an incident at once, before everything that waits. Never throws: the sweep finds a hint that was lost. */
export async function hintPlaybook(
  { hints, log }: Pick<Deps, 'hints' | 'log'>,
  incidentId: string,
  reason: 'opened' | 'approved',
): Promise<void> {
  await hints.add('respond', [{ payload: { ids: [incidentId], reason }, priority: PRIORITY.urgent }]).catch((error) => {
    log.warn({ code: toAppError(error).code, incidentId }, 'a containment was not hinted; the sweep finds it');
  });
}
