import { subscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import type { App } from '../../../src/api/http/context.ts';
import { enforcePermissions, type RoutePermission } from '../../../src/api/http/permission.ts';
import { makeServer } from '../../../src/api/http/server.ts';
import { ACTIONS } from '../../../src/shared/access/permissions.ts';
import { EVENTS } from '../../../src/shared/events/catalogue.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, importEvent, startApi } from '../support.ts';

type Route = { route: string; isOpen: boolean; permission: RoutePermission | undefined };

/** Every route of `/v1` as it is added, whoever adds it. */
const routes: Route[] = [];
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: App };
  fastify.addHook('onRoute', ({ method, url, config }) => {
    if (!url.startsWith('/v1/')) return;
    routes.push({ route: `${method} ${url}`, isOpen: config?.open === true, permission: config?.permission });
  });
});

const api = await startApi({ ...testEnvironment(), ...ACME, KEYTURN_RATE_LIMIT_PER_MINUTE: '10000' });

const on = (resource: string, action: 'read' | 'manage' | 'export') => ({ resource, action });
const onCredential = (action: (typeof ACTIONS)[number]) => ({ serviceOf: 'credential' as const, action });

/** Who may call what. A change of this table is a change of who may do what: it is meant to be noticed here. */
const PERMISSIONS: Record<string, RoutePermission> = {
  'POST /v1/events': { serviceOf: 'each event', action: 'of its type' },
  'GET /v1/events': on('events', 'read'),
  'GET /v1/events/:id': { serviceOf: 'event', action: 'read', orSender: true },
  'POST /v1/events/:id/retry': on('events', 'manage'),
  'POST /v1/events/:id/discard': on('events', 'manage'),
  'POST /v1/authorizations': { serviceOf: 'body', action: 'connect' },
  'GET /v1/credentials': { serviceOf: 'each row', action: 'read' },
  'GET /v1/credentials/:id': onCredential('read'),
  'GET /v1/credentials/:id/token': onCredential('release'),
  'POST /v1/credentials/:id/refresh': onCredential('refresh'),
  'POST /v1/credentials/:id/rotate': onCredential('rotate'),
  'POST /v1/credentials/:id/revoke': onCredential('revoke'),
  'DELETE /v1/credentials/:id': onCredential('revoke'),
  'POST /v1/credentials/:id/quarantine': onCredential('quarantine'),
  'POST /v1/credentials/:id/restore': onCredential('restore'),
  'POST /v1/credentials/:id/validate': onCredential('validate'),
  'GET /v1/audit': on('audit', 'read'),
  'GET /v1/audit/checkpoint': on('audit', 'read'),
  'GET /v1/audit/export': on('audit', 'export'),
  'GET /v1/principals': on('principals', 'manage'),
  'POST /v1/principals': on('principals', 'manage'),
  'PATCH /v1/principals/:id': on('principals', 'manage'),
  'DELETE /v1/principals/:id': on('principals', 'manage'),
  'POST /v1/tenants': on('tenants', 'manage'),
  'GET /v1/alert-sources': on('alerts', 'manage'),
  'POST /v1/alert-sources': on('alerts', 'manage'),
  'DELETE /v1/alert-sources/:id': on('alerts', 'manage'),
  'GET /v1/incidents': on('incidents', 'read'),
  'GET /v1/incidents/:id': on('incidents', 'read'),
  'POST /v1/incidents/:id/acknowledge': on('incidents', 'manage'),
  'POST /v1/incidents/:id/resolve': on('incidents', 'manage'),
  'GET /v1/subscriptions': on('subscriptions', 'read'),
  'POST /v1/subscriptions': on('subscriptions', 'manage'),
  'GET /v1/subscriptions/:id': on('subscriptions', 'read'),
  'PATCH /v1/subscriptions/:id': on('subscriptions', 'manage'),
  'DELETE /v1/subscriptions/:id': on('subscriptions', 'manage'),
  'GET /v1/subscriptions/:id/deliveries': on('subscriptions', 'read'),
  'POST /v1/subscriptions/:id/replay': on('subscriptions', 'manage'),
  'POST /v1/subscriptions/:id/rotate-secret': on('subscriptions', 'manage'),
  'POST /v1/subscriptions/:id/pause': on('subscriptions', 'manage'),
  'POST /v1/subscriptions/:id/resume': on('subscriptions', 'manage'),
  'GET /v1/reports/compliance': on('reports', 'read'),
  'POST /v1/keys/rotations': on('keys', 'manage'),
  'GET /v1/keys/rotations/:id': on('keys', 'manage'),
};

/** The permission of each event type, on the service of its credential or of its data. */
const EVENT_ACTIONS: Record<keyof typeof EVENTS, (typeof ACTIONS)[number]> = {
  'credential.exchange.requested': 'connect',
  'credential.import.requested': 'import',
  'credential.refresh.requested': 'refresh',
  'credential.rotation.requested': 'rotate',
  'credential.revocation.requested': 'revoke',
  'security.alert.reported': 'report',
  'credential.usage.reported': 'report',
};

/** Bodies that pass the schemas, so that only the permission decides. */
const BODIES: Record<string, unknown> = {
  'POST /v1/authorizations': { service: 'acme', subject: 'someone' },
  'POST /v1/principals': { name: 'made', permissions: ['principals:manage'] },
  'PATCH /v1/principals/:id': { requireSignature: true },
  'POST /v1/tenants': { name: 'made' },
  'POST /v1/alert-sources': { source: 'generic', name: 'made' },
  'POST /v1/incidents/:id/resolve': { resolution: 'handled' },
  'POST /v1/subscriptions': { name: 'made', sink: 'bullmq', settings: { queue: 'made' } },
  'PATCH /v1/subscriptions/:id': { name: 'changed' },
  'POST /v1/subscriptions/:id/replay': { fromSeq: 1 },
  'POST /v1/subscriptions/:id/rotate-secret': {},
  'POST /v1/keys/rotations': { kind: 'data' },
};

const ABSENT = `cred_${'0'.repeat(32)}`;

const isResource = (permission: RoutePermission) => 'resource' in permission;
const readsFirst = ([, permission]: [string, RoutePermission]) =>
  'serviceOf' in permission && ['credential', 'event'].includes(permission.serviceOf);
/** Whether one permission on one resource decides: `POST /v1/events` has as many as there are types. */
const isOne = ([, permission]: [string, RoutePermission]) => permission.action !== 'of its type';

const ROWS = Object.entries(PERMISSIONS);

/** All that there is but for the one permission; for a list over services, but for its action on any. */
function allBut(permission: RoutePermission): string[] {
  const others = ACTIONS.filter((action) => action !== permission.action).map((action) => `*:${action}`);
  if ('serviceOf' in permission && permission.serviceOf === 'each row') return others;
  const own = 'resource' in permission ? permission.resource : 'acme';
  const resources = new Set([
    'acme',
    'other',
    ...Object.values(PERMISSIONS)
      .filter(isResource)
      .map((one) => (one as { resource: string }).resource),
  ]);
  return [...others, ...[...resources].filter((name) => name !== own).map((name) => `${name}:${permission.action}`)];
}

function just(permission: RoutePermission): string {
  return `${'resource' in permission ? permission.resource : 'acme'}:${permission.action}`;
}

/** What is in the path: a credential or an event of `acme` that there is; on other routes nothing that there is. */
async function idFor(route: string): Promise<string> {
  const { _id } = await api.seed();
  if (route.includes('/v1/credentials/')) return _id;
  if (!route.includes('/v1/events/')) return 'absent';
  return await send(api.adminKey, importEvent()).then(({ body }) => body.results[0].eventId);
}

function send(key: string, event: object) {
  const headers = { 'content-type': 'application/cloudevents+json' };
  return api.call('POST', '/v1/events', { key, headers, body: JSON.stringify(event) });
}

function call(route: string, key: string, id: string) {
  const [method, path] = route.split(' ') as ['GET', string];
  const body = BODIES[route];
  return api.call(method, path.replace(':id', id), { key, ...(body !== undefined && { body }) });
}

/** All that an act would leave behind: entries, and events that ask for work. */
async function traces(): Promise<number> {
  const counts = (['audit', 'audit_inbox', 'events'] as const).map((name) =>
    api.deps.database.collection(name).countDocuments(),
  );
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

describe('the permissions of routes', () => {
  test('every route of /v1 declares one but for the open ones, and the table above is whole', () => {
    const declared = routes.filter(({ isOpen }) => !isOpen);
    expect(Object.fromEntries(declared.map(({ route, permission }) => [route, permission]))).toEqual(PERMISSIONS);
    expect(declared).toHaveLength(ROWS.length);
    expect(
      routes
        .filter(({ isOpen }) => isOpen)
        .map(({ route }) => route)
        .sort(),
    ).toEqual([
      'GET /v1/oauth/callback',
      'GET /v1/oauth/start/:state',
      'POST /v1/alerts/:source',
      'POST /v1/alerts/:source/:id',
    ]);
  });

  test('a route that declares none, and does not say that it is open, is not taken', () => {
    const app = makeServer(api.deps);
    enforcePermissions(app);
    expect(() => app.get('/v1/forgotten', async () => null)).toThrow('GET /v1/forgotten declares no permission');
    app.get('/v1/open', { config: { open: true } }, async () => null);
    app.get('/v1/guarded', { config: { permission: on('audit', 'read') } }, async () => null);
  });

  test.each(ROWS.filter(isOne))(
    '%s: a principal with every permission but this one is refused, and nothing happens',
    async (route, permission) => {
      const id = await idFor(route);
      const key = await api.keyWith(...allBut(permission));
      const before = await traces();
      const answer = await call(route, key, id);
      expectProblem(answer, 403, 'permission_denied');
      // A refused release is itself on the record.
      const isRelease = route === 'GET /v1/credentials/:id/token';
      expect(await traces()).toBe(before + (isRelease ? 1 : 0));
      if (isRelease) {
        const entry = await api.deps.database.collection('audit_inbox').findOne({ credentialId: id });
        expect(entry).toMatchObject({ outcome: 'denied', reason: 'permission_denied' });
      }
    },
  );

  test.each(ROWS.filter(isOne))('%s: a principal with this permission alone is let in', async (route, permission) => {
    const id = await idFor(route);
    const key = await api.keyWith(just(permission));
    const { status } = await call(route, key, id);
    expect([200, 201, 202, 204, 400, 404, 409]).toContain(status);
    // A thing that is there is found; elsewhere the answer is that of one who may know that there is none.
    if (readsFirst([route, permission])) expect(status).not.toBe(404);
  });

  test.each(ROWS.filter(readsFirst))(
    '%s: what there is not is 404 to everybody, so that a refusal tells nothing',
    async (route) => {
      const key = await api.keyWith('other:export');
      const before = await traces();
      const id = route.includes('/v1/events/') ? 'evt_none' : ABSENT;
      expectProblem(await call(route, key, id), 404, 'not_found');
      expect(await traces()).toBe(before);
    },
  );

  test('every event type has the permission of the table above, on the service that it is about', async () => {
    expect(Object.fromEntries(Object.entries(EVENTS).map(([type, { action }]) => [type, action]))).toEqual(
      EVENT_ACTIONS,
    );
    const { _id: credentialId } = await api.seed();
    const service = { service: 'acme', subject: 'someone' };
    const data: Record<keyof typeof EVENTS, object> = {
      'credential.exchange.requested': { ...service, grantType: 'client_credentials' },
      'credential.import.requested': { ...service, accessToken: 'key' },
      'credential.refresh.requested': { credentialId },
      'credential.rotation.requested': { credentialId },
      'credential.revocation.requested': { credentialId },
      'security.alert.reported': { credentialId },
      'credential.usage.reported': { credentialId, ip: '192.0.2.1', userAgent: 'app' },
    };
    for (const [type, action] of Object.entries(EVENT_ACTIONS) as [keyof typeof EVENTS, (typeof ACTIONS)[number]][]) {
      const event = { specversion: '1.0', id: `${type}-1`, source: 'urn:permissions', type, data: data[type] };
      const without = await api.keyWith(...allBut({ serviceOf: 'credential', action }));
      const before = await traces();
      expectProblem(await send(without, event), 403, 'permission_denied');
      expect(await traces()).toBe(before);
      expect((await send(await api.keyWith(`acme:${action}`), event)).status).toBe(202);
    }
  });

  test('who sent an event sees what became of it, without any other permission', async () => {
    const key = await api.keyWith('acme:import');
    const { body } = await send(key, importEvent());
    expect((await api.call('GET', `/v1/events/${body.results[0].eventId}`, { key })).status).toBe(200);
    const other = await api.keyWith('acme:import');
    const refused = await api.call('GET', `/v1/events/${body.results[0].eventId}`, { key: other });
    expectProblem(refused, 403, 'permission_denied');
  });

  test('a list shows what is of the services that the caller may read', async () => {
    await api.seed();
    const mine = await api.call('GET', '/v1/credentials', { key: await api.keyWith('acme:read') });
    expect(mine.body.items.length).toBeGreaterThan(0);
    const key = await api.keyWith('other:read');
    expect((await api.call('GET', '/v1/credentials', { key })).body.items).toEqual([]);
    expectProblem(await api.call('GET', '/v1/credentials?service=acme', { key }), 403, 'permission_denied');
  });
});
