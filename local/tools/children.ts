import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A child process that does not outlive us, whatever happens to us. */
export type Child = {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Resolves with how the child ended; at once when it has. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Sends `signal`, and SIGKILL when the child is still there after `graceMs`. Resolves when it has ended. */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<void>;
};

/**
 * Starts a child in a process group of its own, so that Ctrl-C in the terminal reaches us alone and we stop our
 * children in the right order. Should we be killed, a guard kills the child. Throws when it cannot be started.
 */
export async function startChild(command: string, args: string[], options: SpawnOptions = {}): Promise<Child> {
  const child = spawn(command, args, { ...options, detached: true });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  await once(child, 'spawn');
  const pid = child.pid as number;
  const guard = startGuard(pid);
  const killAtExit = () => child.kill('SIGKILL');
  process.once('exit', killAtExit);
  void exited.then(() => {
    process.off('exit', killAtExit);
    guard.kill('SIGKILL');
  });
  return { process: child, pid, exited, stop: (signal, graceMs) => stop(child, exited, signal, graceMs) };
}

/** A shell that waits for our end of its standard input to close, which the kernel does even on kill -9. */
function startGuard(pid: number): ChildProcess {
  const guard = spawn('sh', ['-c', 'read -r _; kill -9 "$1" 2>/dev/null', 'guard', String(pid)], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  guard.unref();
  guard.once('error', () => {});
  const stdin = guard.stdin as unknown as { unref?(): void; on(event: 'error', listener: () => void): void };
  stdin.on('error', () => {});
  stdin.unref?.();
  return guard;
}

async function stop(
  child: ChildProcess,
  exited: Promise<unknown>,
  signal: NodeJS.Signals = 'SIGTERM',
  graceMs = 10_000,
): Promise<void> {
  child.kill(signal);
  const killer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(killer);
}
