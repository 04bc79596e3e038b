const LOOK_EVERY_MS = 25;

/** For a machine that does something else as well. A wait that succeeds costs nothing, however long it might have been. */
export const PATIENCE_MS = 90_000;

export type UntilOptions = {
  /** What is waited for: the words of the error when it does not come. */
  what: string;
  /** By default, long: a shorter one asserts that the thing comes soon, which a busy machine does not promise. */
  timeoutMs?: number;
  everyMs?: number;
};

/**
 * Asks `condition` until it gives something truthy and returns that. The only way to wait in tests. Throws when the
 * deadline passes, with the last error of `condition` as its cause.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = PATIENCE_MS, everyMs = LOOK_EVERY_MS }: UntilOptions,
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
