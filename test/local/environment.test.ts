import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { chooseAddress, ensureRootKey, namesServers, processEnvironment } from '../../local/environment.ts';
import { readableLine } from '../../local/keyturn-process.ts';
import { welcomeText } from '../../local/welcome.ts';

const dir = await mkdtemp(join(tmpdir(), 'keyturn-environment-'));
afterAll(() => rm(dir, { recursive: true, force: true }));

test('both servers are named or none', () => {
  expect(namesServers({})).toBe(false);
  expect(namesServers({ MONGODB_URI: 'x', REDIS_URL: 'y' })).toBe(true);
  expect(() => namesServers({ REDIS_URL: 'y' })).toThrow('Set both');
});

test('a root key is made once, of 32 bytes, for its owner only', async () => {
  const first = ensureRootKey({}, join(dir, 'a'));
  expect(first.isNew).toBe(true);
  const path = first.env.KEYTURN_ROOT_KEYS_FILE ?? '';
  const key = await readFile(path, 'utf8');
  expect(Buffer.from(key, 'base64')).toHaveLength(32);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(ensureRootKey({}, join(dir, 'a')).isNew).toBe(false);
  expect(await readFile(path, 'utf8')).toBe(key);
});

test('no root key is made where one is configured or another provider holds it', () => {
  for (const env of [{ KEYTURN_ROOT_KEYS: 'k' }, { KEYTURN_ROOT_KEYS_FILE: 'f' }, { KEYTURN_KEY_PROVIDER: 'vault' }]) {
    expect(ensureRootKey(env, join(dir, 'none'))).toEqual({ env: {}, path: null, isNew: false });
  }
});

test('the port is the one configured, else one that is free', async () => {
  expect(await chooseAddress({ KEYTURN_PORT: '9999', KEYTURN_HOST: '0.0.0.0' })).toEqual({
    host: '0.0.0.0',
    port: 9999,
    localUrl: 'http://127.0.0.1:9999',
    publicUrl: 'http://127.0.0.1:9999',
  });
  const squatter = createServer();
  await new Promise<void>((resolve) =>
    squatter
      .once('listening', resolve)
      .once('error', () => resolve())
      .listen(8080, '127.0.0.1'),
  );
  expect((await chooseAddress({})).port).not.toBe(8080);
  squatter.close();
  expect((await chooseAddress({ KEYTURN_PUBLIC_URL: 'https://k.example' })).publicUrl).toBe('https://k.example');
});

test('the processes do not get what only the start reads', () => {
  expect(processEnvironment({ KEYTURN_MONGOD: '/x', A: '1' }, { B: '2' })).toEqual({ A: '1', B: '2' });
});

test('of a log only warnings and errors are shown', () => {
  expect(readableLine('{"level":"info","msg":"x"}')).toBeNull();
  expect(readableLine('{"level":"warn","msg":"slow","err":{"code":"store_unavailable"}}')).toBe(
    'warn: slow (store_unavailable)',
  );
  expect(readableLine('The configuration has problems:')).toBe('The configuration has problems:');
});

test('the admin key is shown when it is known, and never else', () => {
  const welcome = { baseUrl: 'http://h:1', service: 'sandbox', sandbox: true, notes: [] };
  expect(welcomeText({ ...welcome, adminKey: 'kt_live_x' })).toContain('Admin key, shown this once: kt_live_x');
  const later = welcomeText({ ...welcome, adminKey: null });
  expect(later).not.toContain('kt_live_');
  expect(later.match(/curl -sS/g)).toHaveLength(3);
});
