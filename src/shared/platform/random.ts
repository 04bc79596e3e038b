import { randomBytes } from 'node:crypto';

/** Chance as an argument: secrets from `bytes`, jitter from `fraction`. */
export type Random = {
  /** `n` bytes from a cryptographically secure source. */
  bytes(n: number): Buffer;
  /** A number in [0, 1), for jitter only. */
  fraction(): number;
};

export const systemRandom: Random = {
  bytes: (n) => randomBytes(n),
  // Jitter need not be unpredictable, and the system's source costs ten microseconds a call.
  fraction: () => Math.random(),
};
