/** What the configuration and the global set-up hand to every test file; read with `inject` of vitest. */
declare module 'vitest' {
  interface ProvidedContext {
    mongoUri: string;
    redisUrl: string;
    /** How thoroughly the tests that can be long are run. */
    length: 'short' | 'long';
  }
}

/** Makes this file a module. */
export type HarnessContext = { mongoUri: string; redisUrl: string };
