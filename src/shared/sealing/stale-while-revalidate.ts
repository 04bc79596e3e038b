import type { Clock } from '../platform/clock.ts';
import { AppError } from '../platform/errors.ts';

/** How long something cached may be used. Milliseconds since the epoch. */
export type Lifetime = {
  /** Before this it is used as it is. */
  freshUntil: number;
  /** Between the two it is used only while a renewal fails or takes long; after this, never. */
  usableUntil: number;
};

export type Renewer = {
  /** The times of something just fetched that is fresh for `maxAgeMs`. */
  lifetime(maxAgeMs: number): Lifetime;
  /**
   * Fetches anew; callers with the same `id` at the same time share one fetch. While the other side is out of order,
   * `cached` is handed out until its grace ends, after waiting for `PATIENCE_MS` at most; then the outage is thrown.
   */
  renew<T extends Lifetime>(id: string, cached: T | undefined, fetch: () => Promise<T>): Promise<T>;
};

/** How long a caller waits for a renewal while it holds something usable. */
const PATIENCE_MS = 250;

/** @param options `graceMs`: use after freshness ended while renewal fails; `retryMs`: pause between such attempts. */
export function makeRenewer(options: { clock: Clock; graceMs: number; retryMs: number }): Renewer {
  const { clock, graceMs, retryMs } = options;
  const flights = new Map<string, Promise<Lifetime>>();

  function share<T extends Lifetime>(id: string, fetch: () => Promise<T>): Promise<T> {
    const running = flights.get(id) as Promise<T> | undefined;
    if (running) return running;
    const flight = fetch().finally(() => flights.delete(id));
    flights.set(id, flight);
    return flight;
  }

  async function renew<T extends Lifetime>(id: string, cached: T | undefined, fetch: () => Promise<T>): Promise<T> {
    const flight = share(id, fetch);
    if (!cached || clock.now() >= cached.usableUntil) return flight;
    const waiting = new AbortController();
    const renewed = await Promise.race([
      flight.catch(ignoreOutage),
      clock.sleep(PATIENCE_MS, waiting.signal).then(() => undefined),
    ]).finally(() => waiting.abort());
    if (renewed) return renewed;
    cached.freshUntil = Math.min(clock.now() + retryMs, cached.usableUntil);
    return cached;
  }

  return {
    renew,
    lifetime: (maxAgeMs) => ({ freshUntil: clock.now() + maxAgeMs, usableUntil: clock.now() + maxAgeMs + graceMs }),
  };
}

/** An outage may be sat out; a refusal (a key that was taken away, an altered value) must not be. */
function ignoreOutage(error: unknown): undefined {
  if (error instanceof AppError && (error.code === 'key_unavailable' || error.code === 'store_unavailable')) return;
  throw error;
}
