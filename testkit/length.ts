import { inject } from 'vitest';
import './setup/context.ts';

/** Of two sizes of a test, the one of this run: `npm test` is short, `npm run test:long` (`vitest.long.config.ts`) is long. */
export function atLength<T>({ short, long }: { short: T; long: T }): T {
  return inject('length') === 'long' ? long : short;
}
