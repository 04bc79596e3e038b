import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { inParallel } from '../../../src/shared/platform/concurrency/in-parallel.ts';

test('keeps the order and never has more than the limit under way', async () => {
  let running = 0;
  let most = 0;
  const doubled = await inParallel([5, 1, 4, 2, 3], 2, async (n) => {
    most = Math.max(most, ++running);
    for (let i = 0; i < n; i += 1) await turn();
    running -= 1;
    return n * 2;
  });
  expect(doubled).toEqual([10, 2, 8, 4, 6]);
  expect(most).toBe(2);
});

test('begins nothing after a failure, and ends what was begun before it throws', async () => {
  const log: string[] = [];
  const work = inParallel(['fails', 'slow', 'never'], 2, async (name) => {
    log.push(`${name} begun`);
    if (name === 'fails') throw new Error('broken');
    for (let i = 0; i < 5; i += 1) await turn();
    log.push(`${name} ended`);
  });
  await expect(work).rejects.toThrow('broken');
  expect(log).toEqual(['fails begun', 'slow begun', 'slow ended']);
});
