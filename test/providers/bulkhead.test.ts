import { describe, expect, test } from 'vitest';
import { Secret } from '../../src/shared/platform/secret.ts';
import {
  makeGate,
  makeRefreshPlaces,
  makeSlots,
  ordinaryPlacesOf,
  refreshPlacesOf,
  SHARES,
  slotsOf,
} from '../../src/shared/providers/bulkhead.ts';
import type { Provider } from '../../src/shared/providers/contract.ts';
import { guardProvider } from '../../src/shared/providers/guard.ts';
import { call, errorOf } from './support.ts';

const random = { fraction: () => 0.5 };

/** Work that ends when the test says so; it counts how much of it is under way. */
function heldWork() {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const state = { underWay: 0 };
  const work = async () => {
    state.underWay += 1;
    await held;
    state.underWay -= 1;
  };
  return { work, state, release };
}

/** Lets what is ready go on. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('the shares', () => {
  test.each([
    [1, 1, 1, 1],
    [4, 3, 3, 4],
    [8, 6, 6, 7],
    [16, 12, 12, 14],
    [32, 24, 25, 28],
    [64, 48, 51, 56],
  ])('of %d: %d slots, %d places for refreshes, %d for all but revocations', (all, slots, refreshes, ordinary) => {
    expect([slotsOf(all), refreshPlacesOf(all), ordinaryPlacesOf(all)]).toEqual([slots, refreshes, ordinary]);
  });

  test('are bounds: none reaches above its part of the whole, but for the one that is always there', () => {
    for (let all = 1; all <= 300; all += 1) {
      expect(slotsOf(all)).toBeLessThanOrEqual(Math.max(1, SHARES.slots * all));
      expect(refreshPlacesOf(all)).toBeLessThanOrEqual(Math.max(1, SHARES.refreshes * all));
      expect(ordinaryPlacesOf(all)).toBe(all - Math.floor(all / 8));
    }
  });

  test('nest: refreshes never fill the ordinary places, nor those all places', () => {
    for (let all = 1; all <= 300; all += 1) {
      expect(refreshPlacesOf(all)).toBeLessThanOrEqual(ordinaryPlacesOf(all));
      expect(ordinaryPlacesOf(all)).toBeLessThanOrEqual(all);
      // From two places on one is left to people, from eight on one more to revocations.
      if (all >= 2) expect(refreshPlacesOf(all)).toBeLessThan(all);
      if (all >= 8) expect(refreshPlacesOf(all)).toBeLessThan(ordinaryPlacesOf(all));
      if (all >= 8) expect(ordinaryPlacesOf(all)).toBeLessThan(all);
    }
  });
});

describe('slots', () => {
  test('promise 9: one service fills its share of them, and another still finds one', async () => {
    const slots = makeSlots(4);
    const { work, state, release } = heldWork();
    const running = [1, 2, 3].map(() => slots.tryRun('hung', work));
    expect(await slots.tryRun('hung', work)).toBe(false);
    running.push(slots.tryRun('healthy', work));
    expect(state.underWay).toBe(4);
    release();
    expect(await Promise.all(running)).toEqual([true, true, true, true]);
    expect(await slots.tryRun('hung', async () => {})).toBe(true);
  });

  test('work that fails gives its slot back', async () => {
    const slots = makeSlots(1);
    const failing = async () => Promise.reject(new Error('no'));
    for (let time = 0; time < 3; time += 1) await expect(slots.tryRun('acme', failing)).rejects.toThrow('no');
    expect(await slots.tryRun('acme', async () => {})).toBe(true);
  });
});

describe('places for refreshes', () => {
  test('beyond the share a refresh waits in line, for its own service only', async () => {
    const placesAt = makeRefreshPlaces({ get: () => ({ maxConcurrent: 4 }) });
    const { work, state, release } = heldWork();
    const running = Array.from({ length: 5 }, () => placesAt('acme').run(work));
    running.push(placesAt('other').run(work));
    await turn();
    expect(state.underWay).toBe(3 + 1);
    release();
    await Promise.all(running);
    expect(placesAt('acme')).toBe(placesAt('acme'));
  });
});

describe('the gate', () => {
  test('refuses at once beyond the ordinary places, and a revocation only beyond all', async () => {
    const gate = makeGate(8, random);
    const { work, release } = heldWork();
    const running = Array.from({ length: 7 }, () => gate.run('ordinary', work));
    const refusal = { code: 'provider_throttled', retryAfterMs: 200 };
    expect(await errorOf(gate.run('ordinary', work))).toMatchObject(refusal);
    running.push(gate.run('revocation', work));
    expect(await errorOf(gate.run('revocation', work))).toMatchObject(refusal);
    release();
    await Promise.all(running);
  });
});

test('the three together: a burst of refreshes is never refused, and leaves places to people and to revocations', async () => {
  const { work, state, release } = heldWork();
  const provider = { service: 'acme', maxConcurrent: 16, refresh: work, exchangeCode: work, revoke: work };
  const deps = { clock: { now: () => 0 }, random };
  const guarded = guardProvider(provider as unknown as Provider, deps);
  const slots = makeSlots(4);
  const placesAt = makeRefreshPlaces({ get: () => guarded });
  const refresh = () => placesAt('acme').run(() => guarded.refresh!(new Secret('r'), call()));
  const job = () => slots.tryRun('acme', async () => void (await Promise.all(Array.from({ length: 50 }, refresh))));
  const jobs = [job(), job(), job()];
  expect(await job()).toBe(false);
  await turn();
  expect(state.underWay).toBe(12);
  const consent = () => guarded.exchangeCode!({} as never, call());
  const people = [consent(), consent()];
  expect((await errorOf(consent())).code).toBe('provider_throttled');
  const revocations = [1, 2].map(() => guarded.revoke!({ accessToken: new Secret('a') }, call()));
  expect(state.underWay).toBe(16);
  release();
  await Promise.all([...people, ...revocations]);
  expect(await Promise.all(jobs)).toEqual([true, true, true]);
});
