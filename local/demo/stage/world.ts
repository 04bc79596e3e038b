/** The stage of the demo: servers, a pretended provider, Keyturn's two processes, and someone who is told. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MongoClient } from 'mongodb';
import { type Caller, callerAt } from '../../../testkit/messages/caller.ts';
import { type Receiver, startReceiver } from '../../../testkit/servers/receiver.ts';
import { atIssuer, services } from '../../../testkit/services.ts';
import { startKeyturnProcess, untilReady } from '../../keyturn-process.ts';
import { type Sandbox, startSandbox } from '../../sandbox/server.ts';
import { startServers } from '../../servers/both.ts';
import type { Environment } from '../../tools/apt.ts';
import { freePort } from '../../tools/ports.ts';

const CLI = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const CLIENT_ID = 'keyturn-demo';
const DATABASE = 'keyturn_demo';
const STOP_WITHIN_MS = 15_000;

export type World = {
  readonly sandbox: Sandbox;
  /** The sandbox as Keyturn's own OAuth client sees it. */
  readonly client: { issuer: string; clientId: string; clientSecret: string };
  readonly receiver: Receiver;
  readonly mongo: MongoClient;
  readonly database: string;
  /** A request to the API as the admin. */
  call: Caller;
  /** Runs `keyturn <args>` as an operator would. */
  keyturn(...args: string[]): Promise<{ code: number; output: string }>;
};

/** Starts everything on loopback, in a folder that is deleted at the end. What was started is stopped by `running`. */
export async function openWorld(
  given: Environment,
  running: AsyncDisposableStack,
  say: (line: string) => void,
): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-demo-'));
  running.defer(() => rm(dir, { recursive: true, force: true }));
  const servers = await startServers({ env: given, dir: join(dir, 'servers'), progress: say });
  running.defer(() => servers.stop());
  const receiver = await startReceiver();
  running.defer(() => receiver.stop());
  const port = await freePort();
  const baseUrl = `http://127.0.0.1:${port}`;
  const credentials = { clientId: CLIENT_ID, clientSecret: randomBytes(24).toString('base64url') };
  const sandbox = await startSandbox({
    clients: [{ ...credentials, redirectUris: [`${baseUrl}/v1/oauth/callback`] }],
    autoConsent: true,
    accessTokenTtlS: 600,
  });
  running.defer(() => sandbox.stop());
  const client = { issuer: sandbox.issuer, ...credentials };
  const adminKey = `kt_live_${randomBytes(32).toString('base64url')}`;
  const env: Environment = {
    PATH: given.PATH,
    HOME: given.HOME,
    MONGODB_URI: servers.mongo.uri,
    REDIS_URL: servers.redis.url,
    KEYTURN_DATABASE: DATABASE,
    KEYTURN_PORT: String(port),
    KEYTURN_PUBLIC_URL: baseUrl,
    KEYTURN_BOOTSTRAP_KEY: adminKey,
    KEYTURN_ROOT_KEYS: randomBytes(32).toString('base64'),
    KEYTURN_JOURNAL_DIR: join(dir, 'journal'),
    KEYTURN_OCSF_DIR: join(dir, 'ocsf'),
    KEYTURN_SWEEP_SECONDS: '0.2',
    // The consumer of the demo is on this machine.
    KEYTURN_ALLOW_PRIVATE_WEBHOOKS: 'true',
    ...services({ sandbox: { ...atIssuer(client), scopes: 'openid offline_access read', sandbox: 'true' } }),
  };
  await startProcesses({ env, baseUrl, logDir: join(dir, 'logs'), running, say });
  const mongo = new MongoClient(servers.mongo.uri);
  running.defer(() => mongo.close());
  return {
    sandbox,
    client,
    receiver,
    mongo,
    database: DATABASE,
    call: callerAt(baseUrl, adminKey),
    keyturn: (...args) => runKeyturn(args, env),
  };
}

type Start = {
  env: Environment;
  baseUrl: string;
  logDir: string;
  running: AsyncDisposableStack;
  say: (line: string) => void;
};

async function startProcesses({ env, baseUrl, logDir, running, say }: Start): Promise<void> {
  for (const name of ['api', 'workers'] as const) {
    const child = await startKeyturnProcess({ name, env, logDir, show: say });
    running.defer(() => child.stop('SIGTERM', STOP_WITHIN_MS));
    if (name === 'api') await untilReady(baseUrl, child);
  }
}

function runKeyturn(args: string[], env: Environment): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env: env as NodeJS.ProcessEnv }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 2), output: `${stdout}${stderr}`.trim() });
    });
  });
}
