import { expect, test } from 'vitest';
import { AppError, type ErrorCode } from '../../src/shared/platform/errors.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { Provider, TokenReply } from '../../src/shared/providers/contract.ts';
import { guardProvider } from '../../src/shared/providers/guard.ts';
import { call, errorOf } from './support.ts';

const settings = { failuresToOpen: 3, minCoolOffMs: 1_000, maxCoolOffMs: 4_000 };
const reply: TokenReply = {
  material: { accessToken: new Secret('a') },
  tokenType: 'Bearer',
  expiresAt: null,
  refreshExpiresAt: null,
  scopes: null,
  metadata: {},
};

/** A guarded provider whose calls end when and how the test says. */
function harness(maxConcurrent = 16) {
  let now = 0;
  let outcome: AppError | undefined;
  let held: Promise<void> | undefined;
  let calls = 0;
  const act = async () => {
    calls++;
    const { error, wait } = { error: outcome, wait: held };
    await wait;
    if (error) throw error;
  };
  const provider = {
    service: 'guarded',
    maxConcurrent,
    refresh: async () => act().then(() => reply),
    revoke: act,
  } as unknown as Provider;
  const guarded = guardProvider(provider, { clock: { now: () => now }, random: { fraction: () => 1 } }, settings);
  return {
    refresh: () => guarded.refresh!(new Secret('r'), call()),
    revoke: () => guarded.revoke!({ accessToken: new Secret('a') }, call()),
    guarded,
    calls: () => calls,
    pass: (ms: number) => {
      now += ms;
    },
    ends: (code?: ErrorCode, retryAfterMs?: number) => {
      outcome = code && new AppError(code, { ...(retryAfterMs && { retryAfterMs }) });
    },
    hold: () => {
      let release = () => {};
      held = new Promise((resolve) => {
        release = resolve;
      });
      return () => {
        held = undefined;
        release();
      };
    },
  };
}

async function fail(h: ReturnType<typeof harness>, times: number): Promise<void> {
  h.ends('provider_unavailable');
  for (let i = 0; i < times; i++) await errorOf(h.refresh());
}

test('beyond its places a call is refused at once, and places are kept for revocations', async () => {
  const h = harness(8);
  const release = h.hold();
  const running = Array.from({ length: 7 }, () => h.refresh());
  expect(await errorOf(h.refresh())).toMatchObject({ code: 'provider_throttled', retryAfterMs: 300 });
  const revocation = h.revoke();
  expect((await errorOf(h.revoke())).code).toBe('provider_throttled');
  release();
  await Promise.all([...running, revocation]);
  await h.refresh();
});

test('failures in a row open the circuit: calls are refused unsent until the cool-off is over', async () => {
  const h = harness();
  await fail(h, 3);
  expect(await errorOf(h.refresh())).toMatchObject({ code: 'provider_unavailable', retryAfterMs: 1_000 });
  expect(h.calls()).toBe(3);
  h.pass(1_000);
  h.ends();
  await h.refresh();
  await h.refresh();
  expect(h.calls()).toBe(5);
});

test('an answer of any other kind shows that the provider lives', async () => {
  const h = harness();
  await fail(h, 2);
  h.ends('provider_grant_ended');
  await errorOf(h.refresh());
  await fail(h, 2);
  h.ends();
  await h.refresh();
});

test('a half-open circuit lets one call through, and each failure doubles the cool-off up to its maximum', async () => {
  const h = harness();
  await fail(h, 3);
  for (const coolOffMs of [2_000, 4_000, 4_000]) {
    h.pass(4_000);
    const release = h.hold();
    const trial = errorOf(h.refresh());
    expect((await errorOf(h.refresh())).code).toBe('provider_unavailable');
    release();
    await trial;
    expect(await errorOf(h.refresh())).toMatchObject({ retryAfterMs: coolOffMs });
  }
  expect(h.calls()).toBe(6);
});

test('a trial that is interrupted gives its place to the next one', async () => {
  const h = harness();
  await fail(h, 3);
  h.pass(1_000);
  h.ends('interrupted');
  await errorOf(h.refresh());
  h.ends();
  await h.refresh();
  await h.refresh();
});

test('calls that were under way when the circuit opened do not move it', async () => {
  const h = harness();
  const release = h.hold();
  h.ends();
  const slow = h.refresh();
  h.ends('provider_unavailable');
  const failing = Array.from({ length: 6 }, () => errorOf(h.refresh()));
  release();
  await Promise.all([...failing, slow]);
  expect(await errorOf(h.refresh())).toMatchObject({ code: 'provider_unavailable', retryAfterMs: 1_000 });
});

test('a Retry-After pauses the provider for everyone until then', async () => {
  const h = harness();
  h.ends('provider_throttled', 5_000);
  await errorOf(h.refresh());
  h.ends();
  expect(await errorOf(h.revoke())).toMatchObject({ code: 'provider_throttled', retryAfterMs: 5_000 });
  h.pass(5_000);
  await h.refresh();
});

test('a call that the provider has not got stays absent', () => {
  expect(harness().guarded.probe).toBeUndefined();
});
