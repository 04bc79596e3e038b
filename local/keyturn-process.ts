import { createWriteStream, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Environment } from './tools/apt.ts';
import { type Child, startChild } from './tools/children.ts';

/**
 * Starts one of Keyturn's processes. Its log goes to `<logDir>/<name>.log`; warnings and errors are shown as well, one
 * readable line each.
 */
export async function startKeyturnProcess(options: {
  name: 'api' | 'workers';
  env: Environment;
  logDir: string;
  show: (line: string) => void;
}): Promise<Child> {
  mkdirSync(options.logDir, { recursive: true });
  const child = await startChild(
    process.execPath,
    [fileURLToPath(new URL(`../src/${options.name}/main.ts`, import.meta.url))],
    {
      env: options.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const file = createWriteStream(join(options.logDir, `${options.name}.log`), { flags: 'a', mode: 0o600 });
  for (const stream of [child.process.stdout, child.process.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (line) => {
      file.write(`${line}\n`);
      const shown = readableLine(line);
      if (shown !== null) options.show(`${options.name}: ${shown}`);
    });
  }
  return child;
}

const READY_WITHIN_MS = 60_000;

/** Resolves when the API at `baseUrl` says that it is ready. Throws when its process ends before, or takes a minute. */
export async function untilReady(baseUrl: string, api: Child): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MS;
  while (performance.now() < deadline && api.process.exitCode === null) {
    const response = await fetch(`${baseUrl}/readyz`).catch(() => null);
    await response?.body?.cancel();
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the API did not become ready');
}

/** A line worth showing: a warning or an error of the log, or what is no log line at all. Null for the rest. */
export function readableLine(line: string): string | null {
  if (!line.startsWith('{')) return line;
  try {
    const { level, msg = '', err } = JSON.parse(line) as { level?: string; msg?: string; err?: { code?: string } };
    if (!['warn', 'error', 'fatal'].includes(level ?? '')) return null;
    return `${level}: ${msg}${err?.code === undefined ? '' : ` (${err.code})`}`;
  } catch {
    return line;
  }
}
