import { type BreakerDeps, type BreakerSettings, makeBreaker } from './breaker.ts';
import { makeGate } from './bulkhead.ts';
import type { Provider } from './contract.ts';

/** When a provider's circuit opens, and for how long. */
export const BREAKER_DEFAULTS: BreakerSettings = { failuresToOpen: 5, minCoolOffMs: 1_000, maxCoolOffMs: 60_000 };

/**
 * The provider behind a circuit breaker and the last share of the bulkhead, so that a slow or dead one harms only itself. A
 * call that may not be made is refused at once and never waits: `provider_throttled` when all places are taken or the
 * provider asked for a pause, `provider_unavailable` while the circuit is open; both with `retryAfterMs`.
 * `authorizationUrl` is not guarded: people do not queue behind machines, and it sends no token.
 */
export function guardProvider(provider: Provider, deps: BreakerDeps, settings = BREAKER_DEFAULTS): Provider {
  const breaker = makeBreaker(settings, deps);
  const gate = makeGate(provider.maxConcurrent, deps.random);

  async function reported<T>(call: () => Promise<T>): Promise<T> {
    const report = breaker.enter();
    try {
      const result = await call();
      report(undefined);
      return result;
    } catch (error) {
      report(error);
      throw error;
    }
  }

  const guarded = <F extends (...args: never[]) => Promise<unknown>>(
    call: F | undefined,
    kind: 'ordinary' | 'revocation' = 'ordinary',
  ) => call && (((...args) => gate.run(kind, () => reported(() => call(...args)))) as F);

  return {
    ...provider,
    exchangeCode: guarded(provider.exchangeCode),
    refresh: guarded(provider.refresh),
    clientCredentials: guarded(provider.clientCredentials),
    revoke: guarded(provider.revoke, 'revocation'),
    probe: guarded(provider.probe),
    introspectRefreshToken: guarded(provider.introspectRefreshToken),
  };
}
