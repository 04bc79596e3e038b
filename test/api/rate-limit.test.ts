import { describe, expect, test } from 'vitest';
import { makeRateLimit } from '../../src/api/http/rate-limit.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { AppError } from '../../src/shared/platform/errors.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { ACME, expectProblem, startApi } from './support.ts';

const env = { ...testEnvironment(), ...ACME, KEYTURN_RATE_LIMIT_PER_MINUTE: '60' };
const api = await startApi(env);

/** A limit of 60 a minute on a clock that stands still until it is moved. */
function limitAt(start: number) {
  const time = { now: start };
  const take = makeRateLimit({ clock: { now: () => time.now, sleep: async () => {} }, config: parseConfig(env) });
  const headers: Record<string, unknown> = {};
  const reply = { header: (name: string, value: unknown) => Object.assign(headers, { [name]: value }) };
  const ask = (principalId: string): AppError | null => {
    try {
      take(principalId, reply as never);
      return null;
    } catch (error) {
      return error as AppError;
    }
  };
  return { time, headers, ask };
}

describe('the rate limit', () => {
  test('a principal gets its minute at once, then one request a second, and is told how it stands', () => {
    const { time, headers, ask } = limitAt(1_000_000);
    expect(Array.from({ length: 60 }, () => ask('one')).filter(Boolean)).toEqual([]);
    expect(headers).toEqual({ 'ratelimit-policy': '"principal";q=60;w=60', ratelimit: '"principal";r=0;t=60' });
    expect(ask('one')).toMatchObject({ code: 'rate_limited', retryAfterMs: 1_000 });
    time.now += 1_000;
    expect(ask('one')).toBeNull();
    expect(ask('one')).toBeInstanceOf(AppError);
    time.now += 3_600_000;
    expect(Array.from({ length: 61 }, () => ask('one')).filter(Boolean)).toHaveLength(1);
  });

  test('promise 9: one principal over its limit costs another nothing, nor does a clock that goes back', () => {
    const { time, ask } = limitAt(1_000_000);
    while (!ask('greedy'));
    expect(ask('modest')).toBeNull();
    time.now -= 10_000;
    expect(ask('modest')).toBeNull();
    expect(ask('greedy')).toBeInstanceOf(AppError);
  });

  test('over it the answer is 429 with Retry-After and the standard headers; another key goes on', async () => {
    const [greedy, modest] = [await api.keyWith('*:read'), await api.keyWith('*:read')];
    const first = await api.call('GET', '/v1/credentials', { key: greedy });
    expect(first.headers).toMatchObject({ 'ratelimit-policy': '"principal";q=60;w=60' });
    expect(first.headers.ratelimit).toMatch(/^"principal";r=59;t=\d$/);
    for (let count = 0; count < 70; count += 1) await api.call('GET', '/v1/credentials', { key: greedy });
    const refused = await api.call('GET', '/v1/credentials', { key: greedy });
    expectProblem(refused, 429, 'rate_limited');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(refused.headers.ratelimit).toMatch(/^"principal";r=0;t=\d+$/);
    expect((await api.call('GET', '/v1/credentials', { key: modest })).status).toBe(200);
  });
});
