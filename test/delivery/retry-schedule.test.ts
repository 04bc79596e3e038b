import { describe, expect, test } from 'vitest';
import { coolOff, OPEN_AFTER, PAUSES_MS, pauseAfter } from '../../src/shared/delivery/retry-schedule.ts';

const HOUR = 3_600_000;

describe('the retry schedule', () => {
  test('is that of Standard Webhooks', () => {
    expect(PAUSES_MS).toEqual(
      [0, 5_000, 300_000, 1_800_000, 2, 5, 10, 14, 20, 24].map((n) => (n > 0 && n < 100 ? n * HOUR : n)),
    );
  });

  test('spreads by up to a fifth, and ends after ten attempts', () => {
    expect(pauseAfter(1, undefined, 0)).toBe(5_000);
    expect(pauseAfter(1, undefined, 0.999)).toBeLessThanOrEqual(6_000);
    expect(pauseAfter(9, undefined, 0)).toBe(24 * HOUR);
    expect(pauseAfter(10, undefined, 0)).toBeNull();
  });

  test("waits as long as the consumer asks for, and never less than the schedule's pause", () => {
    expect(pauseAfter(1, 60_000, 0)).toBe(60_000);
    expect(pauseAfter(3, 60_000, 0)).toBe(1_800_000);
  });

  test('a consumer that is down is left alone ever longer, up to five minutes', () => {
    expect(coolOff(OPEN_AFTER, 0.999)).toBeLessThanOrEqual(5_000);
    expect(coolOff(OPEN_AFTER + 3, 0)).toBe(30_000);
    expect(coolOff(OPEN_AFTER + 500, 0.999)).toBeLessThanOrEqual(300_000);
  });
});
