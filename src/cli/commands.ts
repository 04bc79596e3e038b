/** The commands that there are: one row each, in the order in which `keyturn help` lists them. */
import type { Command } from './base/command.ts';
import { auditVerify } from './commands/audit-verify.ts';
import { eventsDiscard } from './commands/events-discard.ts';
import { eventsList } from './commands/events-list.ts';
import { eventsRetry } from './commands/events-retry.ts';
import { keysRotate } from './commands/keys-rotate.ts';
import { keysStatus } from './commands/keys-status.ts';
import { secretsMigrate } from './commands/secrets-migrate.ts';
import { signingKeyRotate } from './commands/signing-key-rotate.ts';
import { tenantsShred } from './commands/tenants-shred.ts';

export const COMMANDS: readonly Command[] = [
  auditVerify,
  eventsDiscard,
  eventsList,
  eventsRetry,
  keysRotate,
  keysStatus,
  secretsMigrate,
  signingKeyRotate,
  tenantsShred,
];
