/** What the global set-up hands to every test file; read with `inject` of vitest. */
declare module 'vitest' {
  interface ProvidedContext {
    mongoUri: string;
    redisUrl: string;
  }
}

/** Makes this file a module. */
export type HarnessContext = { mongoUri: string; redisUrl: string };
