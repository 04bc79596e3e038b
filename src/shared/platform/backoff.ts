const FIRST_MS = 1_000;
const MAX_MS = 15 * 60_000;

/** Growing delay after `failures` in a row (1 or more), with full jitter over its upper half. Milliseconds. */
export function backoff(failures: number, fraction: number): number {
  const most = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20));
  return Math.round(most * (0.5 + 0.5 * fraction));
}
