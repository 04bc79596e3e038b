/** When a credential is due next. Pure: times in and out are milliseconds since the epoch. */

import type { Provider } from '../providers/contract.ts';
import type { CredentialDoc, Due } from '../store/lifecycle/credentials.ts';
import { isRenewable } from './freshness.ts';

export type ScheduleInput = {
  now: number;
  expiresAt: number | null;
  refreshExpiresAt: number | null;
  /** Whether a worker can bring a newer secret by itself. */
  renewable: boolean;
  marginMs: number;
  /** In [0, 1): spreads what was born together. */
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

/** A date `delayMs` from now, less up to a tenth of it: what was born together comes due apart. */
export function jittered(input: Pick<ScheduleInput, 'now' | 'fraction'>, delayMs: number): Date {
  return new Date(input.now + Math.round(delayMs * (1 - JITTER_SHARE * input.fraction)));
}

/** The schedule's inputs that a provider determines, for a secret of this kind. */
export function providerSchedule(provider: Provider, secret: Pick<CredentialDoc, 'kind' | 'hasRefreshToken'>) {
  const call = secret.kind === 'client_credentials' ? provider.clientCredentials : provider.refresh;
  return {
    renewable: isRenewable(secret) && call !== undefined,
    probeEveryMs: provider.probeEveryMs,
    refreshTokenIdleMs: provider.refreshTokenIdleMs,
  };
}
