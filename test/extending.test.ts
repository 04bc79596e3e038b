import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import '../testkit/context.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const run = promisify(execFile);

/** The files that docs/extending.md tells the reader to write: each example begins with its path. */
const examples = [
  ...readFileSync(join(ROOT, 'docs/extending.md'), 'utf8').matchAll(/```ts\n\/\/ (\S+)\n([\s\S]*?)```/g),
].map(([, path, code]) => ({ path: path!, code: code! }));

const COPIED = [
  'src',
  'test',
  'testkit',
  'local',
  'bench',
  'scripts',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
];

let copy: string;

/** A copy of the project, in which the reader follows the page. */
beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'keyturn-extending-'));
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  for (const { path, code } of examples) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    writeFileSync(join(copy, path), code);
  }
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

async function inCopy(command: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, MONGODB_URI: inject('mongoUri'), REDIS_URL: inject('redisUrl'), NO_COLOR: '1' };
  try {
    const { stdout } = await run(join(copy, 'node_modules/.bin', command), args, {
      cwd: copy,
      env,
      maxBuffer: 1 << 26,
    });
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`);
  }
}

describe('docs/extending.md', () => {
  test('shows one of each kind', () => {
    const kinds = ['sinks', 'rotators', 'sources', 'rules'];
    const shown = examples.map(({ path }) => dirname(path).split('/').at(-2));
    expect(shown.sort()).toEqual(kinds.sort());
  });

  test('the examples have the types that the contracts ask for', async () => {
    const config = { extends: './tsconfig.json', include: examples.map(({ path }) => path) };
    writeFileSync(join(copy, 'tsconfig.examples.json'), JSON.stringify(config));
    await inCopy('tsc', '--project', 'tsconfig.examples.json');
  }, 120_000);

  test('each is found by being there', async () => {
    const names = examples.map(({ path }) => path.split('/').at(-1)!.replace('.ts', ''));
    const script = `
      const { loadRotators } = await import('./src/shared/credentials/rotation/rotators/contract.ts');
      const { loadRules } = await import('./src/shared/incidents/rules/contract.ts');
      const { sinkNames, loadSink } = await import('./src/shared/delivery/sinks/contract.ts');
      const { loadAlertSources } = await import('./src/shared/incidents/alerts/sources/contract.ts');
      const rules = (await loadRules()).map((rule) => rule.name);
      const sinks = await Promise.all((await sinkNames()).map(async (name) => (await loadSink(name)).name));
      console.log(JSON.stringify([...(await loadRotators()).keys(), ...rules, ...sinks, ...(await loadAlertSources()).keys()]));`;
    const found = JSON.parse(await inCopy('node', '--input-type=module', '--eval', script));
    expect(found).toEqual(expect.arrayContaining(names));
  }, 60_000);

  test('the alert source and the rule pass the conformance suites, which loop over them too', async () => {
    const files = ['test/conformance/rules.test.ts', 'test/conformance/alert-sources.test.ts'];
    const report = await inCopy('vitest', 'run', '--reporter=verbose', ...files);
    for (const name of ['gitguardian', 'released-at-night']) expect(report).toContain(name);
  }, 180_000);
});
