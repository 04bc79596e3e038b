import { afterAll } from 'vitest';
import { systemClock } from '../../src/shared/platform/clock.ts';
import type { ProviderSettings } from '../../src/shared/platform/config/provider-settings.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { type StubProvider, startStubProvider } from '../../testkit/providers/stub-provider.ts';

/** A stub provider that is stopped after the tests of the file. Until it is told otherwise, it answers with tokens. */
export async function startStub(): Promise<StubProvider> {
  const stub = await startStubProvider();
  afterAll(stub.stop);
  return stub;
}

/** For calls that are answered: long, so that a slow machine is not taken for a provider that hangs. */
export const deps = { clock: systemClock, timeoutMs: 30_000 };

/** For calls that are never answered, so that their time-out comes soon. */
export const hasty = { ...deps, timeoutMs: 300 };

export function call(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

export const CLIENT_SECRET = 'canary-client-secret+/=:%';

/** Settings of a service with a client. */
export function settingsOf(service: string, more: Partial<ProviderSettings> = {}): ProviderSettings {
  return { service, clientId: 'client-1', clientSecret: new Secret(CLIENT_SECRET), extra: {}, ...more };
}

/** Runs to the error that it must throw. */
export async function errorOf(work: Promise<unknown>): Promise<Error & { code?: string; retryAfterMs?: number }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not throw');
}
