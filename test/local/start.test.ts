import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { openBrowser } from '../../local/tools/browser.ts';
import { startProcess } from '../../testkit/processes/keyturn.ts';
import { until } from '../../testkit/until.ts';

const run = promisify(execFile);
const dir = await mkdtemp(join(tmpdir(), 'keyturn-start-'));
afterAll(() => rm(dir, { recursive: true, force: true }));

/** Runs one of the printed lines as a person would, in a shell. */
async function shell(line: string, env: Record<string, string> = {}): Promise<Record<string, unknown>> {
  const { stdout } = await run('sh', ['-c', line], { env: { PATH: process.env.PATH, ...env } });
  return JSON.parse(stdout);
}

function curlLines(output: string): [string, string, string] {
  return output.match(/curl -sS.+/g) as [string, string, string];
}

const hasCurl = await run('curl', ['--version']).then(
  () => true,
  () => false,
);

test.skipIf(!hasCurl)(
  'the lines that npm start prints work, and what was connected is there after a restart',
  async () => {
    const env = { KEYTURN_PORT: '0', XDG_CACHE_HOME: process.env.XDG_CACHE_HOME };
    const first = await startProcess('local', env, { cwd: dir });
    await first.waitForLog('Ctrl-C stops everything');
    expect(first.output()).toContain('SANDBOX');
    const key = /kt_live_[\w-]{43}/.exec(first.output())?.[0] ?? '';
    const [authorize, list, audit] = curlLines(first.output());

    const { authorizationUrl } = await shell(authorize);
    const browser = openBrowser();
    const page = await browser.follow(String(authorizationUrl));
    expect(await page.response?.text()).toContain('SANDBOX');
    const agreed = await browser.request(page.url, {
      method: 'POST',
      body: new URLSearchParams({ decision: 'allow' }),
    });
    await browser.follow(new URL(agreed.headers.get('location') ?? '', page.url));
    await until(async () => JSON.stringify(await shell(list)).includes('"active"'), {
      what: 'the credential',
    });
    expect(JSON.stringify(await shell(audit))).toContain('credential.activated');
    expect(await first.sigterm()).toBe(0);

    const second = await startProcess('local', env, { cwd: dir });
    await second.waitForLog('Ctrl-C stops everything');
    expect(second.output()).not.toContain('kt_live_');
    const [, listAgain] = curlLines(second.output());
    expect(JSON.stringify(await shell(listAgain, { KEYTURN_KEY: key }))).toContain('"active"');
    expect(await second.sigterm()).toBe(0);
    await nothingIsLeft();
  },
  400_000,
);

/** No process of ours works in the folder any more. */
async function nothingIsLeft(): Promise<void> {
  if (process.platform !== 'linux') return;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  expect(commands.filter((command) => command.includes(dir))).toEqual([]);
}

test('npm start says in one sentence what is wrong', async () => {
  const started = await startProcess('local', { REDIS_URL: 'redis://127.0.0.1:1' }, { cwd: dir });
  expect(await started.exited).toBe(1);
  expect(started.output()).toContain('Set both MONGODB_URI and REDIS_URL');
});
