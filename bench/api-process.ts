import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { forkFile } from './children.ts';

/** A running API process with an admin key. */
export type ApiProcess = { child: ReturnType<typeof forkFile>; port: number; key: string; tenantId: string };

const START_WITHIN_MS = 30_000;

/** Starts the API and waits until it is ready. Rate limits are out of the way: the bench is one principal. */
export async function startApi(env: Record<string, string>): Promise<ApiProcess> {
  const key = `kt_live_${randomBytes(32).toString('base64url')}`;
  const port = await freePort();
  const child = forkFile('../src/api/main.ts', [], {
    ...env,
    KEYTURN_PORT: String(port),
    KEYTURN_BOOTSTRAP_KEY: key,
    KEYTURN_RATE_LIMIT_PER_MINUTE: '10000000',
  });
  const deadline = performance.now() + START_WITHIN_MS;
  while (!(await isReady(port))) {
    if (performance.now() > deadline) throw new Error('the API does not become ready');
    await pause(50);
  }
  return { child, port, key, tenantId: `ten_${'0'.repeat(32)}` };
}

async function isReady(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/readyz`).then(
    (response) => response.ok,
    () => false,
  );
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
