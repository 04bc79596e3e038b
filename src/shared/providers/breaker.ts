import { AppError } from '../platform/errors.ts';
import type { Random } from '../platform/random.ts';

/** Numbers that an operator may turn. Times in milliseconds. */
export type BreakerSettings = {
  /** Calls in a row that end in `provider_unavailable` before the circuit opens. */
  failuresToOpen: number;
  /** First cool-off; each further one in a row is twice as long, up to the maximum. */
  minCoolOffMs: number;
  maxCoolOffMs: number;
};

export type BreakerDeps = { clock: { now(): number }; random: Pick<Random, 'fraction'> };

/** Told once how the call went: with the error, or undefined for success. */
export type Report = (error: unknown) => void;

/** However long a provider's Retry-After is: after this it is asked again. Milliseconds. */
const MAX_PAUSE_MS = 3600_000;

/**
 * A circuit breaker. Failures in a row open it; after the cool-off one call is let through as a trial, and its outcome
 * closes the circuit or opens it for longer. A Retry-After pauses it whatever its state. Answers of any kind but
 * `provider_unavailable` show that the provider lives; `interrupted` shows nothing. Calls that were under way when
 * the circuit opened do not move it.
 */
export function makeBreaker(settings: BreakerSettings, { clock, random }: BreakerDeps) {
  let failures = 0;
  let openings = 0;
  let openUntil = 0;
  let pausedUntil = 0;
  let trialUnderWay = false;
  const isOpen = () => openings > 0;

  function open(now: number): void {
    const longest = Math.min(settings.minCoolOffMs * 2 ** openings, settings.maxCoolOffMs);
    openUntil = now + longest * (0.5 + random.fraction() / 2);
    openings++;
  }

  function settle(error: unknown, isTrial: boolean): void {
    if (isTrial) trialUnderWay = false;
    const now = clock.now();
    const { code, retryAfterMs } = error instanceof AppError ? error : { code: undefined, retryAfterMs: undefined };
    if (retryAfterMs !== undefined) pausedUntil = Math.max(pausedUntil, now + Math.min(retryAfterMs, MAX_PAUSE_MS));
    if (code === 'interrupted' || isOpen() !== isTrial) return;
    if (code !== 'provider_unavailable') {
      failures = 0;
      openings = 0;
      return;
    }
    failures++;
    if (isTrial || failures >= settings.failuresToOpen) open(now);
  }

  return {
    /** Before a call. Throws `provider_throttled` or `provider_unavailable`, with `retryAfterMs`, if it may not be made. */
    enter(): Report {
      const now = clock.now();
      if (now < pausedUntil) {
        throw new AppError('provider_throttled', {
          internal: 'the provider asked for a pause',
          retryAfterMs: pausedUntil - now,
        });
      }
      const isTrial = isOpen();
      if (isTrial && (now < openUntil || trialUnderWay)) {
        const retryAfterMs = Math.max(openUntil - now, settings.minCoolOffMs);
        throw new AppError('provider_unavailable', { internal: 'the circuit is open', retryAfterMs });
      }
      if (isTrial) trialUnderWay = true;
      return (error) => settle(error, isTrial);
    },
  };
}
