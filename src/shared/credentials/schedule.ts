/** When a credential is due next. Pure: times in and out are milliseconds since the epoch. */

import type { Provider } from '../providers/contract.ts';
import type { Deps } from '../runtime/deps.ts';
import type { CredentialDoc, Due } from '../store/lifecycle/credentials.ts';
import { isRenewable } from './freshness.ts';

export type ScheduleInput = {
  now: number;
  expiresAt: number | null;
  refreshExpiresAt: number | null;
  /** Whether a worker can bring a newer secret by itself. */
  renewable: boolean;
  marginMs: number;
  /** In [0, 1): spreads secrets that were made at the same time. */
  fraction: number;
  probeEveryMs: number;
  refreshTokenIdleMs: number | null;
};

const EARLIEST_SHARE = 0.5;
const LATEST_SHARE = 0.8;
const JITTER_SHARE = 0.1;

/**
 * `min(80 % of life, expiry − margin)`, but never before half of the life, less up to a tenth of it as jitter.
 * Without an expiry the provider's probing interval counts; an unused refresh token is used before it lapses.
 */
export function nextDue(input: ScheduleInput): Pick<Due, 'refresh' | 'expire' | 'validate'> {
  const { now, expiresAt } = input;
  if (!input.renewable) {
    return expiresAt === null ? { validate: jittered(input, input.probeEveryMs) } : { expire: new Date(expiresAt) };
  }
  const life = expiresAt === null ? input.probeEveryMs : Math.max(0, expiresAt - now);
  const at = Math.max(EARLIEST_SHARE * life, Math.min(LATEST_SHARE * life, life - input.marginMs));
  const bounds = [at];
  if (input.refreshTokenIdleMs !== null) bounds.push(LATEST_SHARE * input.refreshTokenIdleMs);
  if (input.refreshExpiresAt !== null) bounds.push(LATEST_SHARE * (input.refreshExpiresAt - now));
  return { refresh: jittered(input, Math.max(0, Math.min(...bounds))) };
}

/** The dates of a secret that nobody looked after for a while: its end as it was announced, all other work now. */
export function dueAtOnce(
  secret: Pick<CredentialDoc, 'kind' | 'hasRefreshToken' | 'expiresAt'>,
  now: Date,
): Pick<Due, 'refresh' | 'expire' | 'validate'> {
  if (isRenewable(secret)) return { refresh: now };
  return secret.expiresAt === null ? { validate: now } : { expire: secret.expiresAt };
}

/** When the policy asks for the next rotation; null: it asks for none. A secret without a date counts from now. */
export function nextRotation(
  { policy, secretChangedAt }: Pick<CredentialDoc, 'policy' | 'secretChangedAt'>,
  now: number,
): Date | null {
  if (!policy.rotateEveryMs) return null;
  return new Date((secretChangedAt?.getTime() ?? now) + policy.rotateEveryMs);
}

/** A date `delayMs` from now, less up to a tenth of it: secrets that were made at the same time come due apart. */
export function jittered(input: Pick<ScheduleInput, 'now' | 'fraction'>, delayMs: number): Date {
  return new Date(input.now + Math.round(delayMs * (1 - JITTER_SHARE * input.fraction)));
}

/** The parts of a secret that decide when it needs care. Times are milliseconds since the epoch. */
type Scheduled = Pick<CredentialDoc, 'kind' | 'hasRefreshToken'> &
  Pick<ScheduleInput, 'expiresAt' | 'refreshExpiresAt'>;

/** The dates of a provider's new secret, from now on. */
export function secretDue(
  { clock, random, config }: Pick<Deps, 'clock' | 'random' | 'config'>,
  provider: Provider,
  secret: Scheduled,
): Pick<Due, 'refresh' | 'expire' | 'validate'> {
  const call = secret.kind === 'client_credentials' ? provider.clientCredentials : provider.refresh;
  return nextDue({
    now: clock.now(),
    expiresAt: secret.expiresAt,
    refreshExpiresAt: secret.refreshExpiresAt,
    renewable: isRenewable(secret) && call !== undefined,
    marginMs: config.refreshMarginMs,
    fraction: random.fraction(),
    probeEveryMs: provider.probeEveryMs,
    refreshTokenIdleMs: provider.refreshTokenIdleMs,
  });
}
