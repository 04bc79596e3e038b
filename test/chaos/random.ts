/** Chance that a seed determines: the same seed draws the same faults in the same order. */
export type Dice = {
  /** In [0, 1). */
  fraction(): number;
  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number;
  pick<T>(items: readonly T[]): T;
  /** Picks by weight. */
  weighted<T extends { weight: number }>(items: readonly T[]): T;
};

/** Mulberry32: 32 bits of state are plenty for choosing faults. */
export function makeDice(seed: number): Dice {
  let state = seed >>> 0;
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (min: number, max: number) => min + Math.floor(fraction() * (max - min + 1));
  const pick = <T>(items: readonly T[]) => items[between(0, items.length - 1)]!;
  const weighted = <T extends { weight: number }>(items: readonly T[]) => {
    let left = fraction() * items.reduce((sum, { weight }) => sum + weight, 0);
    const found = items.find(({ weight }) => {
      left -= weight;
      return left < 0;
    });
    return found ?? items.at(-1)!;
  };
  return { fraction, between, pick, weighted };
}
