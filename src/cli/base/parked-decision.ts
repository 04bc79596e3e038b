import type { Decision, ParkedDeps } from '../../shared/events/parked.ts';
import { AppError } from '../../shared/platform/errors.ts';
import { findTenantOfEvent } from '../../shared/store/lifecycle/events.ts';
import { type Call, CLI_ACTOR, type Command, type ExitCode, textOf } from './command.ts';
import { withStore } from './with-store.ts';

/** The options of a command that decides on one parked event. */
export const DECISION_OPTIONS = {
  options: { id: { type: 'string' } },
  meanings: { 'id <event>': 'the event, as `events list` shows it' },
} satisfies Pick<Command, 'options' | 'meanings'>;

/** Decides on the event that `--id` names, of whatever tenant it is. Throws `invalid_request`, `not_found`, and as `act` does. */
export async function decideOn(
  { options, config, print }: Call,
  act: (deps: ParkedDeps, decision: Decision) => Promise<unknown>,
): Promise<ExitCode> {
  const eventId = textOf(options, 'id');
  if (eventId === undefined) throw new AppError('invalid_request', { detail: 'Say which event with --id.' });
  return withStore<ExitCode>(config(), async (deps) => {
    const tenantId = await findTenantOfEvent(deps.database, eventId);
    if (tenantId === null) throw new AppError('not_found', { detail: `There is no event ${eventId}.` });
    await act(deps, { tenantId, eventId, actor: CLI_ACTOR });
    print(`${eventId}: done`);
    return 0;
  });
}
