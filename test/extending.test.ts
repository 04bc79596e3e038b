import { execFile } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import type { WrapContext } from '../src/shared/sealing/key-providers/contract.ts';
import { type StubCall, type StubReply, startStubProvider } from '../testkit/providers/stub-provider.ts';
import { testDatabase } from '../testkit/servers/for-tests.ts';
import '../testkit/setup/context.ts';
import { ROOT_KEY } from '../testkit/system.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const run = promisify(execFile);

const page = readFileSync(join(ROOT, 'docs/extending.md'), 'utf8');

/** The files that the page tells the reader to write: each example begins with its path. */
const examples = [...page.matchAll(/```ts\n\/\/ (\S+)\n([\s\S]*?)```/g)].map(([, path, code]) => ({
  path: path!,
  code: code!,
}));

/** The rows that it tells the reader to add: each begins with the path of the file. */
const additions = [...page.matchAll(/```diff\n--- (\S+)\n([\s\S]*?)```/g)].map(([, path, diff]) => ({
  path: path!,
  diff: diff!,
}));

/** `text` with the lines of a diff added. Throws where the lines around them do not stand there exactly once. */
function withRows(text: string, diff: string): string {
  return diff.split(/^@@\n/m).reduce((before, hunk) => {
    const lines = hunk.split('\n').slice(0, -1);
    const without = lines.filter((line) => line.startsWith(' ')).map((line) => `${line.slice(1)}\n`);
    const [head, ...rest] = before.split(without.join(''));
    if (rest.length !== 1) throw new Error(`does not stand there once:\n${without.join('')}`);
    return `${head}${lines.map((line) => `${line.slice(1)}\n`).join('')}${rest[0]}`;
  }, text);
}

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

const database = testDatabase();

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
  for (const { path, diff } of additions) {
    writeFileSync(join(copy, path), withRows(readFileSync(join(copy, path), 'utf8'), diff));
  }
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

/** Environment of a Keyturn on the servers of the tests. */
const environment = () => ({
  MONGODB_URI: inject('mongoUri'),
  REDIS_URL: inject('redisUrl'),
  KEYTURN_ROOT_KEYS: ROOT_KEY,
});

async function inCopy(command: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const { MONGODB_URI, REDIS_URL } = environment();
  try {
    const { stdout } = await run(join(copy, 'node_modules/.bin', command), args, {
      cwd: copy,
      env: { ...process.env, MONGODB_URI, REDIS_URL, NO_COLOR: '1', ...env },
      maxBuffer: 1 << 26,
    });
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`);
  }
}

/** A module of the copy, where the reader's files and rows are. */
const fromCopy = <T>(path: string): Promise<T> => import(pathToFileURL(join(copy, path)).href);

/** The configuration as the copy reads it: it knows the reader's variables. */
async function configOf(env: Record<string, string>) {
  const { parseConfig } = await fromCopy<typeof import('../src/shared/platform/config/parse.ts')>(
    'src/shared/platform/config/parse.ts',
  );
  return parseConfig({ ...environment(), ...env });
}

async function givenOf() {
  const { systemClock } =
    await fromCopy<typeof import('../src/shared/platform/clock.ts')>('src/shared/platform/clock.ts');
  const { systemRandom } = await fromCopy<typeof import('../src/shared/platform/random.ts')>(
    'src/shared/platform/random.ts',
  );
  return { clock: systemClock, random: systemRandom };
}

/** A stub that answers every call by `answer`, for as long as `work` takes. */
async function withStub(answer: (call: StubCall) => StubReply, work: (url: string) => Promise<void>): Promise<void> {
  const stub = await startStubProvider();
  stub.always(answer);
  try {
    await work(stub.url);
  } finally {
    await stub.stop();
  }
}

describe('docs/extending.md', () => {
  test('shows one of each kind of plug-in that there is, a job and a command', () => {
    const kinds = globSync('src/**/plugins/', { cwd: ROOT }).map((folder) => folder.replace(/\/?$/, ''));
    const shown = examples.map(({ path }) => dirname(path));
    expect(kinds.length).toBeGreaterThanOrEqual(7);
    expect(shown.filter((folder) => folder.endsWith('/plugins')).sort()).toEqual(kinds.sort());
    expect(examples.filter(({ path }) => path.endsWith('/job.ts'))).toHaveLength(1);
    expect(shown.filter((folder) => folder === 'src/cli/commands')).toHaveLength(1);
  });

  test('examples and rows have the types that the contracts ask for, and the project compiles with them', async () => {
    await inCopy('tsc', []);
  }, 300_000);

  test('each is found: a plug-in by being there, a job and a command by its row', async () => {
    const names = examples
      .filter(({ path }) => path.includes('/plugins/'))
      .map(({ path }) => path.split('/').at(-1)!.replace('.ts', ''));
    const script = `
      const { providerTypes } = await import('./src/shared/providers/catalogue.ts');
      const { keyProviderNames } = await import('./src/shared/sealing/key-providers/load.ts');
      const { secretStoreNames } = await import('./src/shared/sealing/secret-stores/load.ts');
      const { sinkNames, loadSink } = await import('./src/shared/delivery/sinks/load.ts');
      const { loadRotators } = await import('./src/shared/credentials/rotation/rotators/catalogue.ts');
      const { loadAlertSources } = await import('./src/shared/incidents/alerts/sources/load.ts');
      const { loadRules } = await import('./src/shared/incidents/rules/load.ts');
      const { CREATE_JOBS } = await import('./src/workers/jobs.ts');
      const { COMMANDS } = await import('./src/cli/commands.ts');
      const sinks = await Promise.all((await sinkNames()).map(async (name) => (await loadSink(name)).name));
      const loaded = [...(await loadRotators()).keys(), ...(await loadAlertSources()).keys()];
      const rules = (await loadRules()).map(({ name }) => name);
      const listed = [await providerTypes(), await keyProviderNames(), await secretStoreNames()].flat();
      const jobs = CREATE_JOBS.map((create) => create({ config: {}, providers: { get() {} } }).name);
      const commands = COMMANDS.map(({ noun, verb }) => noun + ' ' + verb);
      console.log(JSON.stringify([...sinks, ...rules, ...loaded, ...listed, ...jobs, ...commands]));`;
    const found = JSON.parse(await inCopy('node', ['--input-type=module', '--eval', script]));
    expect(found).toEqual(expect.arrayContaining([...names, 'note', 'processes list']));
  }, 60_000);

  test('provider, alert source and rule pass the suites that loop over them too; the job passes its own test', async () => {
    const suites = ['providers', 'rules', 'alert-sources'].map((name) => `test/conformance/${name}.test.ts`);
    const own = [...examples, ...additions].map(({ path }) => path).filter((path) => path.startsWith('test/'));
    const shown = ['gitlab', 'gitguardian', 'released-at-night', 'a note is on the log', 'every event type has the'];
    const report = await inCopy('vitest', [
      ...['run', '--reporter=verbose', '--testNamePattern', shown.join('|')],
      ...suites,
      ...own,
    ]);
    for (const name of shown) expect(report).toContain(name);
  }, 180_000);

  test('the key provider unwraps what it wrapped, and tells a refusal from an outage', async () => {
    const { loadKeyProvider } = await fromCopy<typeof import('../src/shared/sealing/key-providers/load.ts')>(
      'src/shared/sealing/key-providers/load.ts',
    );
    const context: WrapContext = { tenantId: 'ten_a', purpose: 'seal', version: 1 };
    const plain = Buffer.alloc(32, 5);
    const open = async (url: string) =>
      loadKeyProvider(
        await configOf({ KEYTURN_KEY_PROVIDER: 'key-service', KEYTURN_KEY_SERVICE_URL: url }),
        await givenOf(),
      );
    await withStub(answerAsKeyService, async (url) => {
      const provider = await open(url);
      const wrapped = await provider.wrap(plain, context);
      expect(wrapped.keyId).toBe(await provider.currentKeyId());
      expect(await provider.unwrap(wrapped, context)).toEqual(plain);
      const other = { ...context, tenantId: 'ten_b' };
      await expect(provider.unwrap(wrapped, other)).rejects.toMatchObject({ code: 'secret_unreadable' });
    });
    const cutOff = await open('http://127.0.0.1:1');
    await expect(cutOff.health()).rejects.toMatchObject({ code: 'key_unavailable' });
    await expect(cutOff.wrap(plain, context)).rejects.toMatchObject({ code: 'key_unavailable' });
  }, 60_000);

  test('the secret store gives back what was put, forgets what was deleted and purged, and says when it is away', async () => {
    const { loadSecretStore } = await fromCopy<typeof import('../src/shared/sealing/secret-stores/load.ts')>(
      'src/shared/sealing/secret-stores/load.ts',
    );
    const open = async (url: string) =>
      loadSecretStore(
        await configOf({ KEYTURN_SECRET_STORE: 'blob-store', KEYTURN_BLOB_STORE_URL: url }),
        await givenOf(),
      );
    const contexts = [1, 2].map((generation) => ({ tenantId: 'ten_a', objectId: 'cred_1', generation }));
    const items = contexts.map((context) => ({
      context,
      sealed: { jwe: `sealed ${context.generation}`, keyVersion: 1 },
    }));
    await withStub(answerAsBlobStore(), async (url) => {
      const store = await open(url);
      const stored = (await store.put(items)).map((one, index) => ({ context: contexts[index]!, stored: one }));
      expect(await store.put(items)).toEqual(stored.map((one) => one.stored));
      expect(await store.get(stored)).toEqual(['sealed 1', 'sealed 2']);
      await store.delete([stored[0]!]);
      expect(await store.get(stored)).toEqual([null, 'sealed 2']);
      await store.purge([contexts[0]!]);
      expect(await store.get(stored)).toEqual([null, null]);
      await store.health();
    });
    const cutOff = await open('http://127.0.0.1:1');
    await expect(cutOff.put(items)).rejects.toMatchObject({ code: 'store_unavailable' });
  }, 60_000);

  test('the command runs', async () => {
    const seen = { startedAt: new Date(), seenAt: new Date() };
    const fields = { tenantId: 'system', keyProvider: 'local', keyIds: null, secretStore: 'mongodb' };
    await database.db
      .collection<{ _id: string }>('processes')
      .insertOne({ _id: 'prc_1', host: 'here', pid: 4711, ...fields, ...seen } as { _id: string });
    const env = { ...environment(), MONGODB_URI: database.uri, KEYTURN_DATABASE: database.name };
    expect(await inCopy('node', ['src/cli/main.ts', 'processes', 'list'], env)).toMatch(/^here {2}4711 {2}\d{4}-/);
  }, 60_000);

  test('a row whose place is not there, or there twice, is refused', () => {
    expect(withRows('a\nb\nc\n', ' a\n+x\n b\n@@\n c\n+y\n')).toBe('a\nx\nb\nc\ny\n');
    expect(() => withRows('a\nb\n', ' c\n+x\n')).toThrow('does not stand there once');
    expect(() => withRows('a\na\n', ' a\n+x\n')).toThrow('does not stand there once');
  });
});

/** The service of the example, which binds a key to its context. A stub: what it wraps is not secret. */
function answerAsKeyService({ path, body }: StubCall): StubReply {
  if (path === '/key') return { body: { keyId: 'root-1' } };
  const { plain, ciphertext, context } = JSON.parse(body);
  const bound = JSON.stringify(context);
  if (path === '/wrap') return { body: { keyId: 'root-1', ciphertext: JSON.stringify({ plain, bound }) } };
  const wrapped = JSON.parse(ciphertext);
  return wrapped.bound === bound ? { body: { plain: wrapped.plain } } : { status: 422, body: {} };
}

/** The blob store of the example, in memory. */
function answerAsBlobStore(): (call: StubCall) => StubReply {
  const blobs = new Map<string, string>();
  return ({ method, path, body }) => {
    if (method === 'PUT') blobs.set(path, body);
    if (method === 'DELETE') for (const key of blobs.keys()) if (key.startsWith(path)) blobs.delete(key);
    if (method !== 'GET' || path === '/') return { body: '' };
    const blob = blobs.get(path);
    return blob === undefined ? { status: 404, body: '' } : { body: blob };
  };
}
