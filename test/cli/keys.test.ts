import { beforeAll, describe, expect, test } from 'vitest';
import { runCommand } from '../../src/cli/run.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { startApi, type TestApi } from '../api/support.ts';
import { openAll, rotate, rotationOf, SOON, seed, versionsOf } from '../keys/support.ts';
import { code } from '../sealing/support.ts';

const env = testEnvironment(SOON);
let api: TestApi;

beforeAll(async () => {
  api = await startApi(env);
  await api.startWorkers();
});

/** Runs a command line as an operator would; resolves to its exit code and what it printed. */
async function run(line: string) {
  const printed: string[] = [];
  const config = () => parseConfig({ ...env, KEYTURN_PUBLIC_URL: 'https://keyturn.test' });
  const exit = await runCommand(line.split(' '), { config, print: (text) => printed.push(text) });
  return { exit, text: printed.join('\n') };
}

describe('keyturn keys', () => {
  test('rotate --data shows how far it is until nothing is left, for one tenant', async () => {
    await seed(api.deps, 'ten_cli', 5);
    await seed(api.deps, 'ten_other', 1);
    const { exit, text } = await run('keys rotate --data --tenant ten_cli');
    expect(exit).toBe(0);
    expect(text).toMatch(/ten_cli data: finished \[#+\] 5 of 5, 0 left at the last count$/);
    expect(await versionsOf(api.deps, 'ten_cli', 'seal')).toEqual(['1 retired', '2 active']);
    expect(await versionsOf(api.deps, 'ten_other', 'seal')).toEqual(['1 active']);
  });

  test('status shows every key with what is under it, the processes, and never a key itself', async () => {
    const { text } = await run('keys status');
    expect(text).toContain('ten_cli:seal:1: retired, 0 documents with values under it');
    expect(text).toContain('ten_cli:seal:2: active, 5 documents with values under it');
    expect(text).toMatch(/^root key local-[0-9a-f]{16}: wraps \d+ data keys; wraps new ones$/m);
    expect(text).toContain(`process ${process.pid} on`);
    expect(text).not.toContain(env.KEYTURN_ROOT_KEYS!);
  });

  test('rotate without --tenant rotates all, and with --no-wait leaves the rest to the workers', async () => {
    const { exit, text } = await run('keys rotate --fingerprint --no-wait');
    expect(exit).toBe(0);
    expect(text).toContain('ten_cli fingerprint: requested');
    expect(text).toContain('ten_other fingerprint: requested');
    await until(async () => (await versionsOf(api.deps, 'ten_other', 'fingerprint')).includes('2 active'), {
      what: 'the new fingerprint key',
    });
    const open = await api.deps.database.collection('key_rotations').find({ open: true }).toArray();
    for (const rotation of open) await rotationOf(api.deps, rotation);
  });

  test('rotate --root with the key that is there already proves that all data keys are under it', async () => {
    expect((await run('keys rotate --root')).text).toMatch(
      /system root: finished .* 0 of 0, 0 left at the last count$/,
    );
  });

  test.each([
    'keys rotate',
    'keys rotate --root --data',
    'keys rotate --root --tenant ten_cli',
    'secrets migrate --to nowhere',
    'tenants shred',
  ])('%s is refused', (line) => expect(run(line)).rejects.toEqual(code('invalid_request')));

  test('a tenant that there is not is said to be none', () =>
    expect(run('keys rotate --data --tenant ten_nobody')).rejects.toEqual(code('not_found')));
});

describe('/v1/keys/rotations', () => {
  test('rotates the keys of the caller, shows the progress, and nothing of it to another tenant (promise 10)', async () => {
    await api.seed();
    const other = await api.otherTenant();
    const begun = await api.call('POST', '/v1/keys/rotations', { body: { kind: 'data' } });
    expect(begun.status).toBe(202);
    expect(begun.body).toMatchObject({ kind: 'data', phase: 'requested', left: null });
    const url = `/v1/keys/rotations/${begun.body.id}`;
    expect((await api.call('GET', url, { key: other.key })).status).toBe(404);
    const done = await until(
      async () => {
        const { body } = await api.call('GET', url);
        return body.phase === 'finished' && body;
      },
      { what: 'the rotation' },
    );
    expect(done).toMatchObject({ left: 0, version: 2 });
    expect(JSON.stringify(done)).not.toContain('wrapped');
  });

  test('needs keys:manage, and the first tenant for the root key', async () => {
    const other = await api.otherTenant();
    const key = await api.keyWith('keys:read', '*:read');
    const asked = [
      await api.call('POST', '/v1/keys/rotations', { key, body: { kind: 'data' } }),
      await api.call('GET', '/v1/keys/rotations/krt_x', { key }),
      await api.call('POST', '/v1/keys/rotations', { key: other.key, body: { kind: 'root' } }),
    ];
    expect(asked.map(({ status }) => status)).toEqual([403, 403, 403]);
    const refused = await api.call('POST', '/v1/keys/rotations', { body: { kind: 'store' } });
    expect(refused.status).toBe(400);
    const root = await api.call('POST', '/v1/keys/rotations', { body: { kind: 'root' } });
    expect(root.body).toMatchObject({ kind: 'root', target: expect.stringMatching(/^local-/) });
    expect((await api.call('GET', `/v1/keys/rotations/${root.body.id}`)).status).toBe(200);
    expect((await api.call('GET', `/v1/keys/rotations/${root.body.id}`, { key: other.key })).status).toBe(404);
  });
});

describe('keyturn tenants shred', () => {
  test('asks for the typed name; then nothing opens here or after a restart, no key is made anew, and the log is whole', async () => {
    const { tenantId, key } = await api.otherTenant();
    const { name } = (await api.deps.database.collection('tenants').findOne({ _id: tenantId }))!;
    const doc = await api.seed({ tenantId });
    expect((await api.call('GET', `/v1/credentials/${doc._id}/token`, { key })).status).toBe(200);
    expect(await openAll(api.deps, tenantId)).toHaveLength(1);
    await expect(run(`tenants shred --tenant ${tenantId} --confirm not-${name}`)).rejects.toThrow(/type its name/);
    expect(await openAll(api.deps, tenantId)).toHaveLength(1);

    const printed: string[] = [];
    const args = ['tenants', 'shred', '--tenant', tenantId, '--confirm', name];
    expect(await runCommand(args, { config: () => parseConfig(env), print: (line) => printed.push(line) })).toBe(0);
    expect(printed.join()).toContain('Of 1 sealed values 0 open.');
    // This process had the key in its cache.
    await until(
      () =>
        openAll(api.deps, tenantId).then(
          () => false,
          () => true,
        ),
      { what: 'the cached key to be forgotten' },
    );
    await expect(openAll(api.deps, tenantId)).rejects.toEqual(code('secret_unreadable'));
    const context = { tenantId, objectId: 'x', generation: 1 };
    await expect(api.deps.sealer.seal('x', context)).rejects.toEqual(code('secret_unreadable'));
    await expect(api.deps.sealer.fingerprint(tenantId, 'x')).rejects.toEqual(code('secret_unreadable'));
    const keys = await api.deps.database.collection('data_keys').find({ tenantId }).toArray();
    for (const { purpose, wrapped } of keys) expect(wrapped === null).toBe(purpose !== 'entry');
    await until(async () => (await api.call('GET', '/v1/audit', { key })).status === 401, {
      what: 'the key to be closed',
    });
    await until(async () => api.deps.database.collection('audit').findOne({ tenantId, type: 'tenant.shredded' }), {
      what: 'the entry',
    });
    expect((await run(`audit verify --tenant ${tenantId}`)).exit).toBe(0);
    expect(await runCommand(args, { config: () => parseConfig(env), print: () => {} })).toBe(0);
  });

  test('ends a rotation that is under way: it makes no new key in the place of the destroyed ones', async () => {
    const { tenantId } = await api.otherTenant();
    const { name } = (await api.deps.database.collection('tenants').findOne({ _id: tenantId }))!;
    await api.seed({ tenantId });
    const rotation = await rotate(api.deps, 'data', tenantId);
    const config = () => parseConfig(env);
    const args = ['tenants', 'shred', '--tenant', tenantId, '--confirm', name];
    const shred = () => runCommand(args, { config, print: () => {} });
    // Refused while a step of the rotation is being committed.
    await until(() => shred().then((exit) => exit === 0), { what: 'the tenant to be shredded' });
    expect(await rotationOf(api.deps, rotation)).not.toHaveProperty('open');
    const states = await versionsOf(api.deps, tenantId, 'seal');
    expect(states.every((one) => one.endsWith('destroyed'))).toBe(true);
  });
});
