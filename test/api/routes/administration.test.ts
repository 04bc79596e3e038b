import { describe, expect, test } from 'vitest';
import { bootstrap, FIRST_TENANT_ID } from '../../../src/shared/access/bootstrap.ts';
import { startSystem, testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, startApi } from '../support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

describe('API keys', () => {
  test('a key is shown once, kept as a hash, and listed without it', async () => {
    const body = { name: 'ci', permissions: ['acme:release', '*:read'] };
    const made = await api.call('POST', '/v1/principals', { body });
    expect(made).toMatchObject({ status: 201, body: { ...body, key: expect.stringMatching(/^kt_live_[\w-]{43}$/) } });
    const { key, id } = made.body;
    expect((await api.call('GET', '/v1/credentials', { key })).status).toBe(200);
    const doc = await api.deps.database.collection('principals').findOne({ _id: id });
    expect(JSON.stringify(doc)).not.toContain(key);
    const list = await api.call('GET', '/v1/principals');
    expect(list.body.items).toContainEqual(expect.objectContaining({ id, name: 'ci' }));
    expect(list.text).not.toContain(key);
    expect(list.text).not.toContain('Hash');
  });

  test('a revoked key is refused at once, and revoking it again changes nothing', async () => {
    const { body } = await api.call('POST', '/v1/principals', { body: { name: 'gone', permissions: ['*:read'] } });
    const { key, id } = body;
    expect((await api.call('GET', '/v1/credentials', { key })).status).toBe(200);
    const revoked = await api.call('DELETE', `/v1/principals/${id}`);
    expect(revoked).toMatchObject({ status: 200, body: { revokedAt: expect.any(String) } });
    expectProblem(await api.call('GET', '/v1/credentials', { key }), 401, 'unauthenticated');
    expect((await api.call('DELETE', `/v1/principals/${id}`)).body).toEqual(revoked.body);
    expectProblem(await api.call('DELETE', '/v1/principals/prn_none'), 404, 'not_found');
  });

  test('missing, malformed, unknown and expired keys get one and the same answer', async () => {
    const body = { name: 'old', permissions: ['*:read'], expiresAt: '2020-01-01T00:00:00Z' };
    const old = await api.call('POST', '/v1/principals', { body });
    const keys = [null, 'kt_live_short', `kt_live_${'A'.repeat(43)}`, old.body.key];
    const answers = [];
    for (const key of keys) answers.push(await api.call('GET', '/v1/credentials', { key }));
    for (const answer of answers) expectProblem(answer, 401, 'unauthenticated');
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers[0]!.headers['www-authenticate']).toBe('Bearer realm="keyturn"');
  });

  test('nobody grants what they do not have', async () => {
    const key = await api.keyWith('principals:manage', 'acme:read');
    const grant = (...permissions: string[]) =>
      api.call('POST', '/v1/principals', { key, body: { name: 'x', permissions } });
    expect((await grant('acme:read')).status).toBe(201);
    for (const permission of ['acme:release', '*:read', 'acme:*', '*:*']) {
      expectProblem(await grant('acme:read', permission), 403, 'permission_denied');
    }
    expectProblem(await grant('acme:fly'), 400, 'invalid_request');
    expectProblem(
      await api.call('GET', '/v1/principals', { key: await api.keyWith('acme:*') }),
      403,
      'permission_denied',
    );
  });
});

describe('tenants', () => {
  test('promise 10: a new tenant has an admin of its own, who sees nothing of ours and makes no tenants', async () => {
    const { key, tenantId } = await api.otherTenant();
    expect(tenantId).toMatch(/^ten_/);
    const { body } = await api.call('GET', '/v1/principals', { key });
    expect(body.items).toMatchObject([{ name: 'admin', permissions: ['*:*'] }]);
    expectProblem(await api.call('POST', '/v1/tenants', { key, body: { name: 'third' } }), 403, 'permission_denied');
    const plain = await api.keyWith('acme:*');
    expectProblem(await api.call('POST', '/v1/tenants', { key: plain, body: { name: 'x' } }), 403, 'permission_denied');
  });

  test('the audit log is of the own tenant, takes audit:read, and tells who made what', async () => {
    const { key } = await api.otherTenant();
    const { body } = await api.call('GET', '/v1/audit', { key });
    expect(body.items.map(({ type }: { type: string }) => type).sort()).toEqual([
      'principal.created',
      'tenant.created',
    ]);
    expect(body.items[0]).toMatchObject({ seq: 1, actor: { kind: 'principal', ip: '127.0.0.1' }, outcome: 'success' });
    expectProblem(await api.call('GET', '/v1/audit', { key: await api.keyWith('acme:*') }), 403, 'permission_denied');
  });

  test('the audit log is walked in the order of its chain and filtered', async () => {
    const first = await api.call('GET', '/v1/audit?limit=2');
    const second = await api.call('GET', `/v1/audit?limit=2&cursor=${first.body.nextCursor}`);
    const entries = [...first.body.items, ...second.body.items];
    expect(entries.map(({ seq }) => seq)).toEqual([1, 2, 3, 4]);
    for (const [n, entry] of entries.entries()) if (n > 0) expect(entry.prev).toBe(entries[n - 1].hash);
    const since = new Date(Date.now() + 60_000).toISOString();
    expect((await api.call('GET', `/v1/audit?since=${since}`)).body.items).toEqual([]);
    const actor = entries.find(({ actor }) => actor.kind === 'principal')?.actor.id ?? 'none';
    const mine = await api.call('GET', `/v1/audit?principal=${actor}`);
    expect(new Set(mine.body.items.map((entry: (typeof entries)[0]) => entry.actor.id))).toEqual(new Set([actor]));
  });
});

describe('the first start', () => {
  test('makes one tenant and one key however many processes start at once, and shows it once', async () => {
    const system = await startSystem(testEnvironment());
    try {
      const keys = await Promise.all([bootstrap(system.deps), bootstrap(system.deps), bootstrap(system.deps)]);
      expect(keys.filter((key) => key !== null)).toEqual([expect.stringMatching(/^kt_live_/)]);
      expect(await bootstrap(system.deps)).toBeNull();
      const principals = system.deps.database.collection('principals');
      expect(await principals.countDocuments({ tenantId: FIRST_TENANT_ID })).toBe(1);
    } finally {
      await system.stop();
    }
  });

  test('refuses a given key that is too weak to be one', async () => {
    const system = await startSystem({ ...testEnvironment(), KEYTURN_BOOTSTRAP_KEY: 'admin' });
    try {
      await expect(bootstrap(system.deps)).rejects.toMatchObject({ code: 'config_invalid' });
    } finally {
      await system.stop();
    }
  });
});
