/**
 * The life of a credential as one table: which transitions exist, what causes each, and what each writes to the log.
 * Everything that is not in it is refused. docs/lifecycle.md is drawn from this table (a test compares them).
 */
import { AppError } from '../platform/errors.ts';
import type { CredentialState } from '../store/lifecycle/credentials.ts';

type TransitionRow = { from: readonly CredentialState[]; to: CredentialState; entry: string; cause: string };

export const TRANSITIONS = {
  activate: {
    from: ['pending', 'active', 'reauthorization_required', 'quarantined', 'expired', 'revoked'],
    to: 'active',
    entry: 'credential.activated',
    cause: 'a code was exchanged or a secret imported',
  },
  refresh: {
    from: ['active'],
    to: 'active',
    entry: 'credential.refreshed',
    cause: 'the provider answered a refresh',
  },
  recover: {
    from: ['active', 'reauthorization_required'],
    to: 'active',
    entry: 'credential.refreshed',
    cause: "a provider's answer was found in the reply journal after a crash",
  },
  rotate: {
    from: ['active'],
    to: 'active',
    entry: 'credential.rotated',
    cause: 'a rotation promoted a new secret',
  },
  require_reauthorization: {
    from: ['active', 'quarantined', 'expired'],
    to: 'reauthorization_required',
    entry: 'credential.reauthorization_required',
    cause: 'the provider ended the grant, or the outcome of a refresh is unknown',
  },
  expire: {
    from: ['active'],
    to: 'expired',
    entry: 'credential.expired',
    cause: 'the secret reached its end and cannot be refreshed',
  },
  quarantine: {
    from: ['active', 'reauthorization_required', 'expired'],
    to: 'quarantined',
    entry: 'credential.quarantined',
    cause: 'a compromise was found, a person asked for it, or a revocation has begun',
  },
  restore: {
    from: ['quarantined'],
    to: 'active',
    entry: 'credential.restored',
    cause: 'a person found the alarm to be false',
  },
  revoke: {
    from: ['pending', 'active', 'reauthorization_required', 'quarantined', 'expired'],
    to: 'revoked',
    entry: 'credential.revoked',
    cause: 'the provider confirmed the revocation, or has none',
  },
  destroy: {
    from: ['pending', 'revoked'],
    to: 'destroyed',
    entry: 'credential.destroyed',
    cause: 'the secret was deleted',
  },
} as const satisfies Record<string, TransitionRow>;

export type Transition = keyof typeof TRANSITIONS;

/** Whether `transition` may start from `state`. */
export function allows(transition: Transition, state: CredentialState): boolean {
  return (TRANSITIONS[transition].from as readonly CredentialState[]).includes(state);
}

/**
 * The state after `transition` and the type of the entry that it writes.
 * Throws `transition_refused` where the table has no such row.
 */
export function transit(transition: Transition, state: CredentialState): { state: CredentialState; entry: string } {
  const row = TRANSITIONS[transition];
  if (!allows(transition, state)) {
    throw new AppError('transition_refused', {
      detail: `A credential that is ${state} cannot ${transition.replaceAll('_', ' ')}; it must be ${row.from.join(' or ')}.`,
    });
  }
  return { state: row.to, entry: row.entry };
}
