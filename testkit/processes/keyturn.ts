import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Environment } from '../local/apt.ts';
import { startChild } from '../local/children.ts';
import { until } from './signals.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const PROGRAMS = { api: 'src/api/main.ts', workers: 'src/workers/main.ts', local: 'local/main.ts' } as const;

/** One line of a process's log. */
export type LogLine = { msg?: string; level?: number | string; [field: string]: unknown };

/** A Keyturn process, seen from outside. */
export type KeyturnProcess = {
  readonly pid: number;
  /** Parsed JSON lines of standard output and error so far. */
  readonly logs: LogLine[];
  /** Everything it wrote, as text: to look for canaries. */
  output(): string;
  /** Waits for a log line whose message has this text or pattern. Looks at past lines too. Throws with the output. */
  waitForLog(message: string | RegExp, options?: { timeoutMs?: number }): Promise<LogLine>;
  kill9(): Promise<void>;
  /** Asks it to end and waits until it has. Returns the exit code; null when a signal ended it. */
  sigterm(options?: { timeoutMs?: number }): Promise<number | null>;
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<number | null>;
};

/**
 * Starts `node src/api/main.ts` or another program with exactly these variables, and PATH and HOME. It does not outlive
 * us, whatever happens.
 */
export async function startProcess(
  program: keyof typeof PROGRAMS,
  env: Environment,
  { cwd = ROOT }: { cwd?: string } = {},
): Promise<KeyturnProcess> {
  const child = await startChild(process.execPath, [`${ROOT}${PROGRAMS[program]}`], {
    cwd,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const logs: LogLine[] = [];
  let text = '';
  for (const stream of [child.process.stdout, child.process.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      text += `${line}\n`;
      logs.push(parseLine(line));
    });
  }
  const exited = child.exited.then(({ code }) => code);
  return {
    pid: child.pid,
    logs,
    output: () => text,
    waitForLog: (message, options) =>
      findLog(logs, message, options).catch((error: Error) => {
        throw new Error(`${error.message}; ${program} wrote:\n${text.slice(-4000)}`);
      }),
    kill9: () => child.stop('SIGKILL'),
    async sigterm({ timeoutMs = 40_000 } = {}) {
      await child.stop('SIGTERM', timeoutMs);
      return exited;
    },
    exited,
  };
}

function findLog(logs: LogLine[], message: string | RegExp, options: { timeoutMs?: number } = {}): Promise<LogLine> {
  const matches = ({ msg = '' }: LogLine) => (typeof message === 'string' ? msg.includes(message) : message.test(msg));
  return until(() => logs.find(matches), { what: `the log line ${message}`, timeoutMs: 30_000, ...options });
}

/** A line that is not JSON counts as a message. */
function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
