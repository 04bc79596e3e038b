const LOOK_EVERY_MS = 25;

export type UntilOptions = {
  /** What is waited for: the words of the error when it does not come. */
  what: string;
  timeoutMs?: number;
  everyMs?: number;
};

/**
 * Asks `condition` until it gives something truthy and returns that. The only way to wait in tests. Throws when the
 * deadline passes, with the last error of `condition` as its cause.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = 10_000, everyMs = LOOK_EVERY_MS }: UntilOptions,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  while (true) {
    try {
      const result = await condition();
      if (result) return result as NonNullable<T>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause });
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
