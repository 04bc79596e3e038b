/** Size of the long test. A slow machine may ask for less; the numbers of the promise are the defaults. */
export const KEEP_ALIVE = {
  credentials: Number(process.env.E2E_CREDENTIALS ?? 200),
  seconds: Number(process.env.E2E_SECONDS ?? 60),
};
