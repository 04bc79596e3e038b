/**
 * The life of a credential as one table: which transitions exist, what causes each, what each clears, and what each writes to the
 * log. Everything that is not in it is refused; `change.ts` is the one writer. docs/lifecycle.md is drawn from this table.
 */
import { AppError } from '../platform/errors.ts';
import type { CredentialState } from '../store/lifecycle/credentials.ts';

/**
 * The work that a credential is due for after a transition. Every other date goes, and so does its claim.
 *
 *   of_secret            what the new secret asks for (refresh, end, validation), while the state is `active`; rotation as before
 *   of_secret_and_policy the same, and the next rotation that the policy asks for, unless one is under way
 *   of_rotation          nothing but a rotation under way, when it was due
 *   end_of_rotation      nothing but a rotation under way, now: what it made good at the other side must be ended
 */
export type DueAfter = 'of_secret' | 'of_secret_and_policy' | 'of_rotation' | 'end_of_rotation';

type TransitionRow = {
  from: readonly CredentialState[];
  /** `same`: the state stays what it is. */
  to: CredentialState | 'same';
  due: DueAfter;
  /** Fields that become null: the block, and the interrupted lease that leaves in doubt whether the refresh token is spent. */
  clears: readonly ('blocked' | 'interrupted')[];
  /** The type of the entry that it writes; null where the entry of an incident, which commits with it, tells of it. */
  entry: string | null;
  cause: string;
};

export const TRANSITIONS = {
  activate: {
    from: ['pending', 'active', 'reauthorization_required', 'quarantined', 'expired', 'revoked'],
    to: 'active',
    due: 'of_secret_and_policy',
    clears: ['blocked', 'interrupted'],
    entry: 'credential.activated',
    cause: 'a code was exchanged or a secret imported',
  },
  refresh: {
    from: ['active', 'reauthorization_required', 'quarantined', 'expired'],
    to: 'same',
    due: 'of_secret',
    clears: ['interrupted'],
    entry: 'credential.refreshed',
    cause: 'the provider answered a refresh; an answer that finds the credential at rest is kept, and changes no state',
  },
  recover: {
    from: ['reauthorization_required'],
    to: 'active',
    due: 'of_secret',
    clears: ['interrupted'],
    entry: 'credential.refreshed',
    cause: "a provider's answer, feared lost in a crash, was found in the reply journal",
  },
  rotate: {
    from: ['active', 'quarantined'],
    to: 'same',
    due: 'of_secret',
    clears: [],
    entry: 'credential.rotated',
    cause: 'a rotation promoted a new secret; a quarantined credential stays quarantined',
  },
  require_reauthorization: {
    from: ['active', 'quarantined', 'expired'],
    to: 'reauthorization_required',
    due: 'end_of_rotation',
    clears: ['interrupted'],
    entry: 'credential.reauthorization_required',
    cause: 'the provider ended the grant, the outcome of a refresh is unknown, or a leaked secret was revoked',
  },
  expire: {
    from: ['active'],
    to: 'expired',
    due: 'end_of_rotation',
    clears: ['interrupted'],
    entry: 'credential.expired',
    cause: 'the secret reached its end and cannot be refreshed',
  },
  quarantine: {
    from: ['active', 'reauthorization_required', 'expired'],
    to: 'quarantined',
    due: 'of_rotation',
    clears: [],
    entry: 'credential.quarantined',
    cause: 'a compromise was found, a person asked for it, or a revocation has begun',
  },
  block: {
    from: ['quarantined'],
    to: 'same',
    due: 'of_rotation',
    clears: [],
    entry: null,
    cause: 'an incident holds a credential that was in quarantine already',
  },
  unblock: {
    from: ['quarantined'],
    to: 'same',
    due: 'of_rotation',
    clears: ['blocked'],
    entry: null,
    cause: 'the incident that held it was handled; from then on a person may restore it',
  },
  restore: {
    from: ['quarantined'],
    to: 'active',
    due: 'of_secret_and_policy',
    clears: ['blocked'],
    entry: 'credential.restored',
    cause: 'a person found the alarm to be false, or a rotation replaced the leaked secret',
  },
  revoke: {
    from: ['pending', 'active', 'reauthorization_required', 'quarantined', 'expired'],
    to: 'revoked',
    due: 'end_of_rotation',
    clears: [],
    entry: 'credential.revoked',
    cause: 'the provider confirmed the revocation, or has none',
  },
  destroy: {
    from: ['pending', 'revoked'],
    to: 'destroyed',
    due: 'end_of_rotation',
    clears: [],
    entry: 'credential.destroyed',
    cause: 'the secret was deleted',
  },
} as const satisfies Record<string, TransitionRow>;

export type Transition = keyof typeof TRANSITIONS;

/** Whether `transition` may start from `state`. */
export function allows(transition: Transition, state: CredentialState): boolean {
  return rowOf(transition).from.includes(state);
}

/** The row of a transition, and the state after it. Throws `transition_refused` where it may not start from `state`. */
export function transit(transition: Transition, state: CredentialState): TransitionRow & { state: CredentialState } {
  const row = rowOf(transition);
  if (!row.from.includes(state)) {
    throw new AppError('transition_refused', {
      detail: `A credential that is ${state} cannot ${transition.replaceAll('_', ' ')}; it must be ${row.from.join(' or ')}.`,
    });
  }
  return { ...row, state: row.to === 'same' ? state : row.to };
}

function rowOf(transition: Transition): TransitionRow {
  return TRANSITIONS[transition];
}
