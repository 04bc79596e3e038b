import { discardParked } from '../../shared/events/parked.ts';
import type { Command } from '../base/command.ts';
import { DECISION_OPTIONS, decideOn } from '../base/parked-decision.ts';

/** `keyturn events discard` */
export const eventsDiscard: Command = {
  noun: 'events',
  verb: 'discard',
  about: 'Gives a parked event up, and forgets its secrets.',
  help: 'It counts as failed from then on. That it was discarded, and why it had been parked, is on the audit log.',
  ...DECISION_OPTIONS,
  run: (call) => decideOn(call, discardParked),
};
