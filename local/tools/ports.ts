import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below the ports that systems give to outgoing connections (32768 and up): one of those could be taken before it is used. */
const FIRST_PORT = 20_000;
const END_PORT = 30_000;
const MAX_TRIES = 20;

/** A TCP port on 127.0.0.1 that was free a moment ago: `preferred` if that is free, else one by chance. */
export async function freePort(preferred = 0): Promise<number> {
  const wanted = preferred > 0 ? [preferred] : [];
  const byChance = Array.from({ length: MAX_TRIES }, () => randomInt(FIRST_PORT, END_PORT));
  for (const port of [...wanted, ...byChance]) if (await isFree(port)) return port;
  throw new Error(`no port from ${FIRST_PORT} to ${END_PORT - 1} is free`);
}

/** Binds and lets go again. */
function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
