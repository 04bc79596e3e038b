import { expect } from 'vitest';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { AppError } from '../../src/shared/platform/errors.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import type { KeyProvider } from '../../src/shared/sealing/key-providers/contract.ts';
import { makeLocalKeyProvider } from '../../src/shared/sealing/key-providers/plugins/local.ts';
import { makeSealer, type SealerOptions } from '../../src/shared/sealing/sealer.ts';
import { makeDataKeyStore } from '../../src/shared/store/keys/data-keys.ts';
import type { TestDatabase } from '../../testkit/servers/for-tests.ts';

/** A clock whose time is set by hand; its sleeps are real, so that a hanging party shows. */
export function handClock(startMs = 1_800_000_000_000) {
  let now = startMs;
  const advance = (ms: number) => {
    now += ms;
  };
  return { now: () => now, sleep: systemClock.sleep, advance };
}

/** A key provider that counts its calls, hands out what it unwrapped, and can be out of order in three ways. */
export function probedKeyProvider(inner: KeyProvider = makeLocalKeyProvider([systemRandom.bytes(32)])) {
  const state = {
    mode: 'well' as 'well' | 'down' | 'refusing' | 'hanging',
    wraps: 0,
    unwraps: 0,
    unwrapped: [] as Buffer[],
  };
  const guard = async () => {
    if (state.mode === 'down') throw new AppError('key_unavailable', { detail: 'down for the test' });
    if (state.mode === 'refusing') throw new AppError('secret_unreadable', { internal: 'refused for the test' });
    if (state.mode === 'hanging') await new Promise(() => {});
  };
  const provider: KeyProvider = {
    ...inner,
    health: guard,
    async wrap(plain, context) {
      state.wraps += 1;
      await guard();
      return inner.wrap(plain, context);
    },
    async unwrap(wrapped, context) {
      state.unwraps += 1;
      await guard();
      const bytes = await inner.unwrap(wrapped, context);
      state.unwrapped.push(bytes);
      return bytes;
    },
  };
  return { provider, state };
}

/** A sealer over the test's own `data_keys`. Each call is like another process: it shares the database only. */
export function testSealer(database: TestDatabase, options: Partial<SealerOptions> = {}) {
  return makeSealer({
    dataKeys: makeDataKeyStore(database),
    keyProvider: makeLocalKeyProvider([Buffer.alloc(32, 1)]),
    clock: systemClock,
    random: systemRandom,
    ...options,
  });
}

/** Expects an `AppError` of that code. */
export const code = (name: string) => expect.objectContaining({ name: 'AppError', code: name });
