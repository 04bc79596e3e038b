import { execFile } from 'node:child_process';
import { access, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '../../../local/mongod/find.ts';
import { startChild } from '../../../local/tools/children.ts';
import { freePort } from '../../../local/tools/ports.ts';
import { until } from '../../../testkit/until.ts';

const run = promisify(execFile);
const VERSION = '5.2.5';

/** Moto's server, from a Python environment in the user's cache, made once per machine (25 s). */
export async function startMoto(
  env: NodeJS.ProcessEnv,
  progress: (line: string) => void,
): Promise<{ endpoint: string; stop(): Promise<void> }> {
  const venv = join(cacheDir(env), `moto-${VERSION}`);
  const program = join(venv, 'bin', 'moto_server');
  await access(program).catch(() => install(venv, progress));
  const port = await freePort();
  const child = await startChild(program, ['-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  const endpoint = `http://127.0.0.1:${port}`;
  await until(() => fetch(endpoint).then((reply) => reply.status < 500), { what: 'moto to answer', timeoutMs: 30_000 });
  return { endpoint, stop: () => child.stop() };
}

async function install(venv: string, progress: (line: string) => void): Promise<void> {
  progress(`installing moto ${VERSION} (once per machine)`);
  await mkdir(dirname(venv), { recursive: true });
  await run('python3', ['-m', 'venv', '--clear', venv]);
  await run(join(venv, 'bin', 'pip'), ['install', '--quiet', `moto[server,kms]==${VERSION}`]);
}
