/** `npm start`: the whole system on one machine, with servers of its own unless others are named. */
import { randomBytes } from 'node:crypto';
import { relative, resolve } from 'node:path';
import { chooseAddress, ensureRootKey, namesServers, processEnvironment } from './environment.ts';
import { startKeyturnProcess, untilReady } from './keyturn-process.ts';
import { startSandboxService } from './sandbox-service.ts';
import { startServers } from './servers/both.ts';
import type { Environment } from './tools/apt.ts';
import type { Child } from './tools/children.ts';
import { isAccepted, welcomeText } from './welcome.ts';

const DIR = resolve('.keyturn');
const STOP_WITHIN_MS = 40_000;

const say = (line: string) => process.stderr.write(`keyturn: ${line}\n`);
const running = new AsyncDisposableStack();
let stoppingSince = Number.NaN;

/**
 * Stops in the reverse order of the start. When asked again it ends at once, and children are killed on exit; but npm
 * repeats a Ctrl-C that the terminal has sent already, so what follows within a second does not count.
 */
async function stop(exitCode: number): Promise<void> {
  if (isStopping()) {
    if (performance.now() - stoppingSince > 1000) process.exit(1);
    return;
  }
  stoppingSince = performance.now();
  say('stopping');
  await running.disposeAsync().catch((error: Error) => say(error.message));
  process.exit(exitCode);
}

// A terminal that was closed cannot be told anything; that must not keep us from stopping.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

function isStopping(): boolean {
  return !Number.isNaN(stoppingSince);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void stop(0));

async function main(env: Environment): Promise<void> {
  const notes: string[] = [];
  const servers = await provideServers(env, notes);
  const rootKey = ensureRootKey(env, DIR);
  if (rootKey.path !== null) notes.push(`Root key: ${relative('.', rootKey.path)} (without it nothing opens again)`);
  const address = await chooseAddress(env);
  const provider = await provideProvider(env, address.publicUrl, notes);
  const adminKey = `kt_live_${randomBytes(32).toString('base64url')}`;
  const ownKey = env.KEYTURN_BOOTSTRAP_KEY || env.KEYTURN_BOOTSTRAP_KEY_FILE;
  const settings = processEnvironment(env, servers, rootKey.env, provider, {
    KEYTURN_HOST: address.host,
    KEYTURN_PORT: String(address.port),
    KEYTURN_PUBLIC_URL: address.publicUrl,
    ...(!ownKey && { KEYTURN_BOOTSTRAP_KEY: adminKey }),
  });
  const api = await startProcess('api', settings);
  await untilReady(address.localUrl, api);
  await startProcess('workers', settings);
  notes.push(`Logs: ${relative('.', resolve(DIR, 'logs'))}`);
  const isFirst = await isAccepted(address.localUrl, adminKey);
  const service = (settings.KEYTURN_PROVIDERS ?? '').split(',')[0]?.trim() || 'sandbox';
  const sandbox = provider.KEYTURN_PROVIDERS !== undefined;
  const text = welcomeText({
    baseUrl: address.publicUrl,
    adminKey: isFirst ? adminKey : null,
    service,
    sandbox,
    notes,
  });
  process.stdout.write(text);
}

/** The servers named in the environment, else our own. */
async function provideServers(env: Environment, notes: string[]): Promise<Environment> {
  if (namesServers(env)) {
    notes.push('MongoDB and Redis: those of MONGODB_URI and REDIS_URL');
    return {};
  }
  const servers = await startServers({ env, dir: DIR, progress: say });
  running.defer(() => servers.stop());
  notes.push(`MongoDB and Redis: started here, on loopback, data in ${relative('.', DIR)}`);
  return { MONGODB_URI: servers.mongo.uri, REDIS_URL: servers.redis.url };
}

/** The services named in the environment, else the sandbox. */
async function provideProvider(env: Environment, publicUrl: string, notes: string[]): Promise<Environment> {
  if (env.KEYTURN_PROVIDERS) return {};
  const { sandbox, env: settings } = await startSandboxService({ dir: DIR, publicUrl, env });
  running.defer(() => sandbox.stop());
  notes.push(`SANDBOX: no service is configured, so a pretended one runs at ${sandbox.issuer} as service “sandbox”`);
  return settings;
}

async function startProcess(name: 'api' | 'workers', env: Environment): Promise<Child> {
  const child = await startKeyturnProcess({ name, env, logDir: resolve(DIR, 'logs'), show: say });
  running.defer(() => child.stop('SIGTERM', STOP_WITHIN_MS));
  void child.exited.then(({ code, signal }) => {
    if (isStopping()) return;
    say(`${name} ended unexpectedly (${signal ?? `exit code ${code}`}); its log is in .keyturn/logs/${name}.log`);
    void stop(1);
  });
  return child;
}

await main(process.env).catch(async (error: Error) => {
  if (!isStopping()) say(error.message);
  await stop(1);
});
