/** Semaphore at something that takes only so many at once. Whoever finds none waits in line. */
export type Semaphore = { take<T>(work: () => Promise<T>): Promise<T> };

export function makeSemaphore(count: number): Semaphore {
  let free = count;
  const line: (() => void)[] = [];
  return {
    take: async (work) => {
      if (free === 0) await new Promise<void>((go) => line.push(go));
      else free -= 1;
      try {
        return await work();
      } finally {
        const next = line.shift();
        if (next) next();
        else free += 1;
      }
    },
  };
}
