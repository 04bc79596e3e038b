import { execFile } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';

/** Environment variables, handed down from a main.ts. */
export type Environment = Record<string, string | undefined>;

const run = promisify(execFile);
const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';
const POLICY = '/usr/sbin/policy-rc.d';

/** How `findMongod` and `findRedis` install what is missing. */
export type Install = typeof aptInstall;

/**
 * Installs a Debian package without starting its service. Only as root, only where apt-get is. Returns whether it
 * worked; `progress` is told what happens.
 */
export async function aptInstall(name: string, env: Environment, progress: (line: string) => void): Promise<boolean> {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return false;
  progress(`installing ${name} with apt-get`);
  const forbidden = forbidServices();
  try {
    const quiet = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const options = { env: { ...env, PATH: `${env.PATH ?? ''}:${SYSTEM_PATH}`, ...quiet }, timeout: 300_000 };
    await run('apt-get', ['update', '-qq'], options).catch(() => {});
    await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], options);
    return true;
  } catch {
    progress(`apt-get could not install ${name}`);
    return false;
  } finally {
    if (forbidden) rmSync(POLICY, { force: true });
  }
}

/** Debian asks this file before it starts a service. One that is there already is left as it is. */
function forbidServices(): boolean {
  if (existsSync(POLICY)) return false;
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
  return true;
}
