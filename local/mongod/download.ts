import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from '../tools/children.ts';
import type { FindContext } from './contract.ts';

const PROGRAM = fileURLToPath(new URL('./download-child.ts', import.meta.url));
/** On a closed network nothing arrives at all. */
const FIRST_BYTE_MS = 5_000;
const STALLED_MS = 60_000;
const LOOK_EVERY_MS = 250;

/**
 * Downloads the build for this system into `dir`, by mongodb-memory-server-core in a process of its own: only a process
 * can be stopped in the middle of it. Null when nothing arrives within seconds, or the download fails.
 */
export async function downloadMongod(dir: string, context: FindContext): Promise<string | null> {
  context.progress('downloading mongod (once per machine)');
  const env = { ...context.env, MONGOMS_MAX_RETRIES: '1', MONGOMS_MD5_CHECK: 'true' };
  const child = await startChild(process.execPath, [PROGRAM, dir], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  let output = '';
  child.process.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  const ended = child.exited.then(({ code }) => code);
  const watch = watchGrowth(dir, ended);
  const code = await Promise.race([ended, watch]);
  if (code === 'stalled') await child.stop('SIGKILL');
  const path = /^mongod: (.+)$/m.exec(output)?.[1];
  if (code === 0 && path?.startsWith(dir)) return path;
  context.progress('the download of mongod is not possible here');
  return null;
}

/** Resolves with `stalled` when the folder has not grown for too long; never when `ended` comes first. */
async function watchGrowth(dir: string, ended: Promise<unknown>): Promise<'stalled'> {
  let running = true;
  void ended.then(() => {
    running = false;
  });
  let size = 0;
  let grewAt = performance.now();
  while (running) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    const now = await folderSize(dir);
    if (now > size) grewAt = performance.now();
    size = now;
    if (performance.now() - grewAt > (size === 0 ? FIRST_BYTE_MS : STALLED_MS)) return 'stalled';
  }
  return new Promise(() => {});
}

/** Bytes in files big enough to be a download: the lock file of the downloader does not count. */
async function folderSize(dir: string): Promise<number> {
  const names = await readdir(dir, { recursive: true });
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(dir, name)).then(
        (s) => (s.isFile() ? s.size : 0),
        () => 0,
      ),
    ),
  );
  return sizes.filter((size) => size > 1024).reduce((sum, size) => sum + size, 0);
}
