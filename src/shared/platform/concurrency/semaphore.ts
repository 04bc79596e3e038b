/** Bounds how much goes on at once: a fixed number of places, and a line before them. */
export type Semaphore = {
  /** Does `work` as soon as a place is free, in the order of asking, and frees the place when it has ended. */
  run<T>(work: () => Promise<T>): Promise<T>;
};

/** @param places at least 1. */
export function makeSemaphore(places: number): Semaphore {
  let free = places;
  const line: (() => void)[] = [];
  return {
    run: async (work) => {
      if (free === 0) await new Promise<void>((enter) => line.push(enter));
      else free -= 1;
      try {
        return await work();
      } finally {
        // The place passes to the next in line: nobody who comes meanwhile can take it.
        const next = line.shift();
        if (next) next();
        else free += 1;
      }
    },
  };
}
