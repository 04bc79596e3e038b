/** Present in `npm run test:kms` only: the endpoint of moto's server. */
declare module 'vitest' {
  interface ProvidedContext {
    kmsEndpoint: string | undefined;
  }
}

/** Makes this file a module. */
export type KmsContext = { kmsEndpoint: string | undefined };
