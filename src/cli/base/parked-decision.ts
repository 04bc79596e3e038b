import type { Decision, ParkedDeps } from '../shared/events/parked.ts';
import { systemClock } from '../shared/platform/clock.ts';
import { AppError } from '../shared/platform/errors.ts';
import { systemRandom } from '../shared/platform/random.ts';
import { makeCommitter } from '../shared/store/commit.ts';
import type { Call, Command, ExitCode } from './command.ts';
import { withStore } from './store.ts';

const ACTOR = { kind: 'system', id: 'keyturn-cli' } as const;

/** Options of a command that decides on one parked event. */
export const DECISION_OPTIONS = {
  options: { id: { type: 'string' } },
  meanings: { 'id <event>': 'the event, as `events list` shows it' },
} satisfies Pick<Command, 'options' | 'meanings'>;

/** Carries out a decision on the event that `--id` names, whosever it is. Throws `invalid_request`, `not_found`. */
export async function decideOn(
  { options, config, print }: Call,
  act: (deps: ParkedDeps, decision: Decision) => Promise<unknown>,
): Promise<ExitCode> {
  const eventId = options.id;
  if (typeof eventId !== 'string') throw new AppError('invalid_request', { detail: 'Say which event with --id.' });
  return withStore<ExitCode>(config(), async ({ database }) => {
    const doc = await database.collection('events').findOne({ _id: eventId }, { projection: { tenantId: 1 } });
    if (!doc) throw new AppError('not_found', { detail: `There is no event ${eventId}.` });
    const { commit } = makeCommitter(database);
    const deps = { clock: systemClock, random: systemRandom, database, commit };
    await act(deps, { tenantId: doc.tenantId, eventId, actor: ACTOR });
    print(`${eventId}: done`);
    return 0;
  });
}
