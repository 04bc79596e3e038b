import { retryParked } from '../../shared/events/parked.ts';
import type { Command } from '../base/command.ts';
import { DECISION_OPTIONS, decideOn } from '../base/parked-decision.ts';

/** `keyturn events retry` */
export const eventsRetry: Command = {
  noun: 'events',
  verb: 'retry',
  about: 'Has a parked event worked on again.',
  help: 'It counts as just accepted; a worker takes it up within a round of the sweep.',
  ...DECISION_OPTIONS,
  run: (call) => decideOn(call, retryParked),
};
