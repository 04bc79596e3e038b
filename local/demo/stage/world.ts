/** The stage of the demo: servers, a pretended provider, Keyturn's two processes, and someone who is told. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MongoClient } from 'mongodb';
import type { Environment } from '../apt.ts';
import { startKeyturnProcess } from '../keyturn-process.ts';
import { freePort } from '../ports.ts';
import { type Sandbox, startSandbox } from '../sandbox/server.ts';
import { startServers } from '../servers.ts';
import { type Receiver, startReceiver } from './receiver.ts';

const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const CLIENT_ID = 'keyturn-demo';
const DATABASE = 'keyturn_demo';
const STOP_WITHIN_MS = 15_000;

// biome-ignore lint/suspicious/noExplicitAny: the steps read replies as a person would.
export type Reply = { status: number; body: any };

export type World = {
  readonly sandbox: Sandbox;
  readonly client: { id: string; secret: string };
  readonly receiver: Receiver;
  readonly mongo: MongoClient;
  readonly database: string;
  /** A request to the API as the admin. `headers` and a text `body` are sent as they are. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
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
  const client = { id: CLIENT_ID, secret: randomBytes(24).toString('base64url') };
  const sandbox = await startSandbox({
    clients: [{ clientId: client.id, clientSecret: client.secret, redirectUris: [`${baseUrl}/v1/oauth/callback`] }],
    autoConsent: true,
    accessTokenTtlS: 600,
  });
  running.defer(() => sandbox.stop());
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
    ...providerSettings(sandbox, client),
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
    call: (method, path, body, headers) => call(`${baseUrl}${path}`, adminKey, { method, body, headers }),
    keyturn: (...args) => runKeyturn(args, env),
  };
}

function providerSettings(sandbox: Sandbox, client: World['client']): Environment {
  return {
    KEYTURN_PROVIDERS: 'sandbox',
    KEYTURN_PROVIDER_SANDBOX_TYPE: 'oauth2',
    KEYTURN_PROVIDER_SANDBOX_ISSUER: sandbox.issuer,
    KEYTURN_PROVIDER_SANDBOX_CLIENT_ID: client.id,
    KEYTURN_PROVIDER_SANDBOX_CLIENT_SECRET: client.secret,
    KEYTURN_PROVIDER_SANDBOX_SCOPES: 'openid offline_access read',
    KEYTURN_PROVIDER_SANDBOX_SANDBOX: 'true',
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
    if (name === 'workers') continue;
    await eventually('the API to become ready', async () => {
      if (child.process.exitCode !== null) throw new Error('the API ended before it was ready');
      return (await fetch(`${baseUrl}/readyz`).catch(() => null))?.ok ?? false;
    });
  }
}

type Request = { method: string; body?: unknown; headers?: Record<string, string> | undefined };

async function call(url: string, key: string, { method, body, headers = {} }: Request): Promise<Reply> {
  const response = await fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text };
}

function runKeyturn(args: string[], env: Environment): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env: env as NodeJS.ProcessEnv }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 2), output: `${stdout}${stderr}`.trim() });
    });
  });
}

const GIVE_UP_AFTER_MS = 20_000;
const LOOK_EVERY_MS = 20;

/** Asks until the answer is something. Throws when it takes too long. */
export async function eventually<T>(what: string, look: () => Promise<T>): Promise<NonNullable<T>> {
  const giveUpAt = performance.now() + GIVE_UP_AFTER_MS;
  while (performance.now() < giveUpAt) {
    const found = await look();
    if (found) return found as NonNullable<T>;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  throw new Error(`waited ${GIVE_UP_AFTER_MS / 1_000} s in vain for ${what}`);
}
