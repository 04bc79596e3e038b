import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Sandbox, startSandbox } from './sandbox/server.ts';
import type { Environment } from './tools/apt.ts';
import { freePort } from './tools/ports.ts';

const CLIENT_ID = 'keyturn-local';
const ACCESS_TOKEN_TTL_S = 45;

type Kept = { port: number; clientSecret: string };

/**
 * The pretended provider of `npm start`, as service `sandbox`. Its port, client and grants are kept in `dir`, so that
 * accounts connected yesterday still refresh today. Returns the variables that make it a service of Keyturn.
 */
export async function startSandboxService(options: {
  dir: string;
  publicUrl: string;
  env: Environment;
}): Promise<{ sandbox: Sandbox; env: Environment }> {
  const { port, clientSecret } = await recall(options.dir);
  const sandbox = await startSandbox({
    port,
    clients: [{ clientId: CLIENT_ID, clientSecret, redirectUris: [`${options.publicUrl}/v1/oauth/callback`] }],
    accessTokenTtlS: ACCESS_TOKEN_TTL_S,
    stateFile: join(options.dir, 'sandbox.state'),
  });
  const env = {
    KEYTURN_PROVIDERS: 'sandbox',
    KEYTURN_PROVIDER_SANDBOX_TYPE: 'oauth2',
    KEYTURN_PROVIDER_SANDBOX_ISSUER: sandbox.issuer,
    KEYTURN_PROVIDER_SANDBOX_CLIENT_ID: CLIENT_ID,
    KEYTURN_PROVIDER_SANDBOX_CLIENT_SECRET: clientSecret,
    KEYTURN_PROVIDER_SANDBOX_SCOPES: 'read write',
    KEYTURN_PROVIDER_SANDBOX_SANDBOX: 'true',
    // The usual margin of a minute is longer than these tokens live.
    KEYTURN_REFRESH_MARGIN_SECONDS: options.env.KEYTURN_REFRESH_MARGIN_SECONDS || '5',
  };
  return { sandbox, env };
}

async function recall(dir: string): Promise<Kept> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, 'sandbox.json');
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Kept;
  } catch {
    const kept = { port: await freePort(), clientSecret: randomBytes(24).toString('base64url') };
    writeFileSync(path, JSON.stringify(kept), { mode: 0o600 });
    return kept;
  }
}
