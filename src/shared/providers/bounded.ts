import { AppError } from '../platform/errors.ts';

/**
 * The work's outcome, or an error as soon as `signal` aborts: `provider_unavailable` when a time-out did it, else
 * `interrupted`. The work itself goes on and must be bounded by its own time-out. `start` is not called when the
 * signal has aborted before.
 */
export function untilAborted<T>(signal: AbortSignal, start: () => Promise<T>): Promise<T> {
  if (signal.aborted) return Promise.reject(abortError(signal));
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(abortError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    start().then(
      (value) => {
        signal.removeEventListener('abort', onAbort);
        resolve(value);
      },
      (error) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

/** The error of an abort: `provider_unavailable` when a time-out did it, else `interrupted`. */
export function abortError(signal: AbortSignal): AppError {
  const timedOut = signal.reason instanceof Error && signal.reason.name === 'TimeoutError';
  return timedOut
    ? new AppError('provider_unavailable', { internal: 'the caller ran out of time' })
    : new AppError('interrupted');
}
