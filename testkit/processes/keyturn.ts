import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../../local/tools/apt.ts';
import { type Child, startChild } from '../../local/tools/children.ts';
import { PATIENCE_MS, until } from '../until.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PROGRAMS = {
  api: 'src/api/main.ts',
  workers: 'src/workers/main.ts',
  local: 'local/main.ts',
  freezing: 'testkit/processes/freezing-worker.ts',
} as const;

/** One line of a process's log. */
export type LogLine = { msg?: string; level?: number | string; [field: string]: unknown };

/** A Keyturn process, seen from outside. */
export type KeyturnProcess = {
  readonly pid: number;
  /** Parsed JSON lines of standard output and error so far. */
  readonly logs: LogLine[];
  /** Everything it wrote, as text: to look for canaries. */
  output(): string;
  /**
   * Waits for a log line whose message has this text or pattern. Looks at past lines too. Throws with the output, at once when
   * the process has ended without it.
   */
  waitForLog(message: string | RegExp): Promise<LogLine>;
  kill9(): Promise<void>;
  /** Asks it to end and waits until it has. Returns the exit code; null when a signal ended it. */
  sigterm(options?: { timeoutMs?: number }): Promise<number | null>;
  /** Resolves when it has ended, for whatever reason, and `output` is whole. */
  readonly exited: Promise<number | null>;
};

/** Those that run now. Test files that run one after another in one process share it. */
const running = new Set<Child>();

/** Ends what a test file has left running, so that it takes nothing from the next one. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop('SIGKILL')));
}

/**
 * Starts `node src/api/main.ts` or another program with exactly these variables, and PATH and HOME. It outlives neither us,
 * whatever happens, nor the test file that started it.
 */
export async function startProcess(
  program: keyof typeof PROGRAMS,
  env: Environment,
  { cwd = ROOT, args = [] }: { cwd?: string; args?: string[] } = {},
): Promise<KeyturnProcess> {
  const child = await startChild(process.execPath, [`${ROOT}${PROGRAMS[program]}`, ...args], {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  void child.exited.then(() => running.delete(child));
  // Its end comes before its last words have been read: those have been when its streams are closed.
  const exited = new Promise<number | null>((resolve) => child.process.once('close', resolve));
  const logs: LogLine[] = [];
  let text = '';
  for (const stream of [child.process.stdout, child.process.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      text += `${line}\n`;
      logs.push(parseLine(line));
    });
  }
  const waitForLog = async (message: string | RegExp) => {
    const matches = ({ msg = '' }: LogLine) =>
      typeof message === 'string' ? msg.includes(message) : message.test(msg);
    const ended = exited.then((code) => logs.find(matches) ?? Promise.reject(new Error(`it ended with ${code}`)));
    const seen = until(() => logs.find(matches), { what: `the log line ${message}` });
    return Promise.race([seen, ended]).catch((error: Error) => {
      throw new Error(`${error.message}; ${program} wrote:\n${text.slice(-4000)}`);
    });
  };
  return {
    pid: child.pid,
    logs,
    output: () => text,
    waitForLog,
    kill9: () => child.stop('SIGKILL'),
    async sigterm({ timeoutMs = PATIENCE_MS } = {}) {
      await child.stop('SIGTERM', timeoutMs);
      return exited;
    },
    exited,
  };
}

/** A line that is not JSON counts as a message. */
function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
