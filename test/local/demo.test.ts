import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { STEPS } from '../../local/demo/story.ts';

const MAIN = fileURLToPath(new URL('../../local/demo/main.ts', import.meta.url));
const dir = await mkdtemp(join(tmpdir(), 'keyturn-test-demo-'));
afterAll(() => rm(dir, { recursive: true, force: true }));

type Run = { code: number; stdout: string; stderr: string; ms: number };

/** The demo as `npm run demo` runs it, with its temporary files in a folder of ours. */
function demo(extra: Record<string, string> = {}): Promise<Run> {
  const { PATH, HOME, XDG_CACHE_HOME } = process.env;
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const env = { PATH, HOME, XDG_CACHE_HOME, TMPDIR: dir, ...extra };
    execFile(process.execPath, [MAIN], { env, timeout: 100_000 }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? -1) : 0, stdout, stderr, ms: performance.now() - startedAt }),
    );
  });
}

async function expectNothingLeft(): Promise<void> {
  expect(await readdir(dir)).toEqual([]);
  if (process.platform !== 'linux') return;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  expect(commands.filter((command) => command.includes(dir))).toEqual([]);
}

test('promises 5, 7 and 8: the demo shows every step within a minute, and leaves nothing behind', async () => {
  const { code, stdout, stderr, ms } = await demo();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const places = STEPS.map(({ title }) => stdout.indexOf(title));
  expect(places.every((place) => place > 0)).toBe(true);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(stdout).toContain('SANDBOX');
  expect(stdout).toMatch(/contained in \d+ ms: release_blocked → revoked_at_provider → revocation_confirmed/);
  expect(stdout).toMatch(/entry \d+ now says[\s\S]+edited: entry \d+ \(ent_[0-9a-f]{32}\)/);
  expect(stdout).toContain('All of it held');
  expect(ms).toBeLessThan(60_000);
  await expectNothingLeft();
});

test('where it cannot run it says why, exits 1, and leaves nothing behind', async () => {
  const { code, stderr } = await demo({ KEYTURN_MONGOD: '/no/such/mongod' });
  expect(code).toBe(1);
  expect(stderr).toContain('/no/such/mongod');
  await expectNothingLeft();
});
