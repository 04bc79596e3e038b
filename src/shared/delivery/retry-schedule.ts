/** When a delivery that failed is tried again. Times in milliseconds. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Standard Webhooks: the pause before each attempt, the first included. After the last the delivery is parked. */
export const PAUSES_MS = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];

const JITTER_SHARE = 0.2;

/** The pause after `attempts` failed ones; null when that was the last. The consumer's own wish counts when it is longer. */
export function pauseAfter(attempts: number, retryAfterMs: number | undefined, fraction: number): number | null {
  const pause = PAUSES_MS[attempts];
  if (pause === undefined) return null;
  return Math.max(Math.round(pause * (1 + JITTER_SHARE * fraction)), retryAfterMs ?? 0);
}

/** After this many failed attempts in a row a consumer is taken to be down, and is tried with one call at a time. */
export const OPEN_AFTER = 3;

const MAX_COOL_OFF_MS = 5 * MINUTE;

/** How long a consumer that is taken to be down is left alone. Its backlog waits in the log and costs nothing. */
export function coolOff(failures: number, fraction: number): number {
  const longest = Math.min(5 * SECOND * 2 ** Math.min(failures - OPEN_AFTER, 20), MAX_COOL_OFF_MS);
  return Math.round(longest * (0.75 + 0.25 * fraction));
}
