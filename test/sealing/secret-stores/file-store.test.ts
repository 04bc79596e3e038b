import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startChild } from '../../../local/tools/children.ts';
import { systemClock } from '../../../src/shared/platform/clock.ts';
import type { Config } from '../../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../../src/shared/platform/random.ts';
import { plugin } from '../../../src/shared/sealing/secret-stores/plugins/file.ts';
import { refOf } from '../../../src/shared/sealing/secret-stores/value-address.ts';
import { code } from '../support.ts';

const open = (dir: string) => plugin.create({ secretDir: dir } as Config, { clock: systemClock, random: systemRandom });
const item = (objectId: string, jwe = 'header.key.iv.text.tag') => ({
  context: { tenantId: 'ten_a', objectId, generation: 1 },
  sealed: { jwe, keyVersion: 1 },
});

describe('the directory of sealed files', () => {
  let parent: string;
  beforeAll(async () => {
    parent = await mkdtemp(join(tmpdir(), 'keyturn-files-'));
  });
  afterAll(() => rm(parent, { recursive: true }));

  const filesOf = async (dir: string) => {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  };

  test('is readable by its owner only, whatever the umask says, and so is every file and folder in it', async () => {
    const dir = join(parent, 'made', 'deep');
    const umask = process.umask(0);
    try {
      await open(dir).put([item('cred_1'), item('cred_2')]);
    } finally {
      process.umask(umask);
    }
    const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
    for (const path of await filesOf(dir)) expect(await modeOf(path)).toBe('600');
    expect(await modeOf(dir)).toBe('700');
    for (const folder of await readdir(dir)) expect(await modeOf(join(dir, folder))).toBe('700');
  });

  test('names no tenant or credential, and holds no temporary file after a write or a write that was made before', async () => {
    const dir = join(parent, 'names');
    await open(dir).put([item('cred_1')]);
    await open(dir).put([item('cred_1')]);
    const files = await filesOf(dir);
    expect(files).toHaveLength(1);
    expect(files[0]!.slice(dir.length)).toMatch(/^\/[0-9a-f]{2}\/[0-9a-f]{64}\.1\.[0-9a-f]{32}\.jwe$/);
  });

  test('loses what a killed writer left half-written, and nothing that is being written', async () => {
    const dir = join(parent, 'unfinished');
    await open(dir).put([item('cred_1')]);
    const [value] = await filesOf(dir);
    const [old, young] = ['aaaa.tmp', 'bbbb.tmp'].map((name) => join(dirname(value!), name)) as [string, string];
    for (const path of [old, young]) await writeFile(path, 'half');
    const longAgo = new Date(systemClock.now() - 2 * 3_600_000);
    await utimes(old, longAgo, longAgo);
    await open(dir).put([item('cred_1')]);
    expect((await filesOf(dir)).sort()).toEqual([value, young].sort());
  });

  test('refuses a value that was altered in the place of the one that is written', async () => {
    const dir = join(parent, 'altered');
    await open(dir).put([item('cred_1')]);
    const [value] = await filesOf(dir);
    await writeFile(value!, 'altered');
    await expect(open(dir).put([item('cred_1')])).rejects.toEqual(code('conflict'));
  });

  test('that others can read is refused, with what to do', async () => {
    const dir = join(parent, 'open');
    await open(dir).health();
    await chmod(dir, 0o755);
    await expect(open(dir).health()).rejects.toThrow(/chmod 700/);
  });

  test('holds whole values only, when the writer is killed at any moment, and what was acknowledged is there', async () => {
    const dir = join(parent, 'killed');
    for (let round = 0; round < 4; round += 1) {
      const writer = await startChild(process.execPath, [WRITER, dir, String(round)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let acknowledged = '';
      writer.process.stdout!.on('data', (chunk) => {
        acknowledged += chunk;
      });
      while (acknowledged.length < 200) await once(writer.process.stdout!, 'data');
      await writer.stop('SIGKILL');
      for (const objectId of acknowledged.split('\n').slice(0, -1)) {
        const found = await open(dir).get([
          {
            context: item(objectId).context,
            stored: { store: 'file', keyVersion: 1, ref: refOf(objectId.repeat(500)) },
          },
        ]);
        expect(found[0]).toBe(objectId.repeat(500));
      }
    }
    for (const path of await filesOf(dir)) {
      if (path.endsWith('.jwe')) expect(await readFile(path, 'utf8')).toMatch(/^(\w+-)\d+(\1\d+)*$/);
    }
  });
});

const WRITER = new URL('./file-store-writer.ts', import.meta.url).pathname;
