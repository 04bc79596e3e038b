import { execFile } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '../../../local/mongod/find.ts';

const run = promisify(execFile);
const VERSION = '1.21.0';
const PACKAGE = 'github.com/hashicorp/vault';

/**
 * A `vault` program: on PATH, else from the user's cache, else built into it with Go 1.26 or newer (about 6 minutes on
 * two cores, 4.6 GB of memory, once per machine). Throws when none can be had.
 */
export async function findVault(env: NodeJS.ProcessEnv, progress: (line: string) => void): Promise<string> {
  const cached = join(cacheDir(env), `vault-${VERSION}`, 'vault');
  const onPath = (env.PATH ?? '').split(delimiter).map((dir) => join(dir, 'vault'));
  for (const path of [...onPath, cached]) if (await isExecutable(path)) return path;
  progress(`building vault ${VERSION} (once per machine, some 6 minutes)`);
  await build(cached);
  return cached;
}

/** Builds in a folder of its own and moves the finished program into place: nobody ever runs half a file. */
async function build(target: string): Promise<void> {
  const parent = join(target, '..');
  await mkdir(parent, { recursive: true });
  const dir = await mkdtemp(join(parent, 'build-'));
  try {
    await writeFile(join(dir, 'go.mod'), 'module scratch\n\ngo 1.26\n');
    await writeFile(join(dir, 'main.go'), `package main\n\nimport _ "${PACKAGE}"\n\nfunc main() {}\n`);
    const options = { cwd: dir, env: { ...process.env, GOFLAGS: '-mod=mod -buildvcs=false' }, maxBuffer: 64 << 20 };
    await run('go', ['get', `${PACKAGE}@v${VERSION}`], options);
    await run('go', ['build', '-ldflags', '-s -w', '-o', 'vault', PACKAGE], options);
    await rename(join(dir, 'vault'), target);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
