const FIRST_MS = 1_000;
const MAX_MS = 15 * 60_000;

/** How long to wait after `failures` in a row (1 or more): twice as long each time, up to 15 minutes, less up to half by jitter. Milliseconds. */
export function backoff(failures: number, fraction: number): number {
  const longestMs = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20));
  return Math.round(longestMs * (0.5 + 0.5 * fraction));
}
