import { AppError } from '../platform/errors.ts';
import { type BreakerDeps, type BreakerSettings, makeBreaker } from './breaker.ts';
import type { Provider } from './contract.ts';

export const BREAKER_DEFAULTS: BreakerSettings = { failuresToOpen: 5, minCoolOffMs: 1_000, maxCoolOffMs: 60_000 };

/** When all places are taken, one is free again after about this long. Milliseconds. */
const BUSY_MS = 200;

/** Of the places, one in this many is kept for revocations, so that a containment overtakes refreshes. */
const RESERVED_SHARE = 8;

/**
 * The provider behind a bulkhead and a circuit breaker, so that a slow or dead one harms only itself. A call that
 * may not be made is refused at once and never waits: `provider_throttled` when all places are taken or the provider
 * asked for a pause, `provider_unavailable` while the circuit is open; both with `retryAfterMs`.
 * `authorizationUrl` is not guarded: people do not queue behind machines, and it sends no token.
 */
export function guardProvider(provider: Provider, deps: BreakerDeps, settings = BREAKER_DEFAULTS): Provider {
  const breaker = makeBreaker(settings, deps);
  const places = provider.maxConcurrent - Math.floor(provider.maxConcurrent / RESERVED_SHARE);
  let inFlight = 0;

  async function run<T>(limit: number, call: () => Promise<T>): Promise<T> {
    if (inFlight >= limit) {
      const retryAfterMs = Math.round(BUSY_MS * (0.5 + deps.random.fraction()));
      throw new AppError('provider_throttled', { internal: 'all places are taken', retryAfterMs });
    }
    const report = breaker.enter();
    inFlight++;
    try {
      const result = await call();
      report(undefined);
      return result;
    } catch (error) {
      report(error);
      throw error;
    } finally {
      inFlight--;
    }
  }

  const guarded = <F extends (...args: never[]) => Promise<unknown>>(call: F | undefined, limit = places) =>
    call && (((...args) => run(limit, () => call(...args))) as F);

  return {
    ...provider,
    exchangeCode: guarded(provider.exchangeCode),
    refresh: guarded(provider.refresh),
    clientCredentials: guarded(provider.clientCredentials),
    revoke: guarded(provider.revoke, provider.maxConcurrent),
    probe: guarded(provider.probe),
    introspectRefreshToken: guarded(provider.introspectRefreshToken),
  };
}
