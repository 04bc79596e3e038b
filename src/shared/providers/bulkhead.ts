/**
 * The bulkhead: how much of a process one service may take up, so that a slow or dead one harms only itself (promise 9) and
 * a containment overtakes refreshes (promise 8). Three shares, each inside the next:
 *
 * 1. `slots`, of the jobs that a queue works on at once. One job carries up to 50 credentials of one service, and holds its
 *    slot until all of them are settled. A job beyond the share is put off for a moment: a provider that hangs keeps its own
 *    jobs waiting, and the rest of the slots stay free for the jobs of other services.
 * 2. `refreshes`, of the provider's places (`maxConcurrent`). The refreshes and probes of the refresh job wait in line for
 *    these, so that a burst of what is due is not refused by the third share. The other places are left to those who do
 *    not stand in that line: people who give consent, and revocations.
 * 3. `ordinary`, of the provider's places. A call that is no revocation is refused at once beyond it, and is due again by
 *    its error. The last places are left to revocations, which may take all.
 *
 * A refresh passes all three: the slot of its job, a place among the refreshes, an ordinary place. The second share is
 * never larger than the third, whatever `maxConcurrent` is: refreshes alone never reach the bound that refuses.
 */
import { makeSemaphore, type Semaphore } from '../platform/concurrency/semaphore.ts';
import { AppError } from '../platform/errors.ts';
import type { Random } from '../platform/random.ts';

/** The three shares. What is left of each is for the others. */
export const SHARES = { slots: 0.75, refreshes: 0.8, ordinary: 7 / 8 } as const;

/** Jobs of one service among `concurrency` of a queue: at least one. */
export function slotsOf(concurrency: number): number {
  return Math.max(1, Math.floor(concurrency * SHARES.slots));
}

/** Calls of the refresh job among `maxConcurrent` to one provider: at least one. */
export function refreshPlacesOf(maxConcurrent: number): number {
  return Math.max(1, Math.floor(maxConcurrent * SHARES.refreshes));
}

/** Calls among `maxConcurrent` to one provider that are no revocations: one place in eight is kept for those. */
export function ordinaryPlacesOf(maxConcurrent: number): number {
  return Math.ceil(maxConcurrent * SHARES.ordinary);
}

export type Slots = {
  /** Does `work` of a service in one of its slots; false, and nothing is done, when it has none left. */
  tryRun(service: string, work: () => Promise<void>): Promise<boolean>;
};

/** The slots of one queue that works on `concurrency` jobs at once (share 1). */
export function makeSlots(concurrency: number): Slots {
  const most = slotsOf(concurrency);
  const busy = new Map<string, number>();
  return {
    tryRun: async (service, work) => {
      const count = busy.get(service) ?? 0;
      if (count >= most) return false;
      busy.set(service, count + 1);
      try {
        await work();
      } finally {
        const left = busy.get(service)! - 1;
        if (left === 0) busy.delete(service);
        else busy.set(service, left);
      }
      return true;
    },
  };
}

/** The line before the places of each service's refreshes (share 2). Throws `unknown_service`. */
export function makeRefreshPlaces(providers: {
  get(service: string): { readonly maxConcurrent: number };
}): (service: string) => Semaphore {
  const places = new Map<string, Semaphore>();
  return (service) => {
    const known = places.get(service);
    if (known) return known;
    const made = makeSemaphore(refreshPlacesOf(providers.get(service).maxConcurrent));
    places.set(service, made);
    return made;
  };
}

/** When all places are taken, one is free again after about this long. Milliseconds. */
const BUSY_MS = 200;

export type Gate = {
  /** Does `call` in one of the provider's places. Throws `provider_throttled` at once, with `retryAfterMs`, when none is left. */
  run<T>(kind: 'ordinary' | 'revocation', call: () => Promise<T>): Promise<T>;
};

/** The places of one provider (share 3). */
export function makeGate(maxConcurrent: number, random: Pick<Random, 'fraction'>): Gate {
  const places = { ordinary: ordinaryPlacesOf(maxConcurrent), revocation: maxConcurrent };
  let inFlight = 0;
  return {
    run: async (kind, call) => {
      if (inFlight >= places[kind]) {
        const retryAfterMs = Math.round(BUSY_MS * (0.5 + random.fraction()));
        throw new AppError('provider_throttled', { internal: 'all places are taken', retryAfterMs });
      }
      inFlight += 1;
      try {
        return await call();
      } finally {
        inFlight -= 1;
      }
    },
  };
}
