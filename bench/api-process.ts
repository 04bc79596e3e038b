import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { freePort } from '../local/tools/ports.ts';
import { FIRST_TENANT_ID } from '../src/shared/access/bootstrap.ts';
import { until } from '../testkit/until.ts';
import { forkFile } from './children.ts';

/** A running API process with an admin key. */
export type ApiProcess = { child: ChildProcess; url: string; port: number; key: string; tenantId: string };

/** Starts the API and waits until it is ready. Rate limits are out of the way: the bench is one principal. */
export async function startApi(env: Record<string, string>): Promise<ApiProcess> {
  const key = `kt_live_${randomBytes(32).toString('base64url')}`;
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = forkFile('../src/api/main.ts', [], {
    ...env,
    KEYTURN_PORT: String(port),
    KEYTURN_BOOTSTRAP_KEY: key,
    KEYTURN_RATE_LIMIT_PER_MINUTE: '10000000',
  });
  await until(async () => (await fetch(`${url}/readyz`)).ok, { what: 'the API to become ready' });
  return { child, url, port, key, tenantId: FIRST_TENANT_ID };
}
