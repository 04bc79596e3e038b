import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Starts a file of `bench/` or `src/` in a process of its own and waits for the first message that it sends. */
export async function forkAndHear<T>(file: string, args: string[] = [], env?: Record<string, string>) {
  const child = forkFile(file, args, env);
  const [message] = await once(child, 'message');
  return { child, message: message as T };
}

const running = new Set<ChildProcess>();

/** No child outlives a bench that is interrupted. */
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** Starts a file without waiting. The child's output is ours. */
export function forkFile(file: string, args: string[] = [], env: Record<string, string> = {}): ChildProcess {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Ends a child and waits until it has. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
