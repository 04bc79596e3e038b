import { subscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describe, expect, test } from 'vitest';
import type { App } from '../../src/api/http/context.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { ACME, type Answer, expectProblem, startApi } from './support.ts';

type Route = { method: 'GET' | 'POST' | 'DELETE'; path: string; isOpen: boolean };

/** Every route as it is added, whoever adds it; but for HEAD and the reference, which are not described. */
const routes: Route[] = [];
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: App };
  fastify.addHook('onRoute', ({ method, url, config }) => {
    const path = url.replace(/:(\w+)/g, '{$1}');
    if (method === 'HEAD' || path.startsWith('/docs')) return;
    routes.push({ method: method as Route['method'], path, isOpen: config?.open === true });
  });
});

const api = await startApi({ ...testEnvironment(), ...ACME });

type OpenApi = { openapi: string; paths: Record<string, Record<string, Operation>>; components: { schemas: object } };
type Operation = {
  security: unknown[];
  requestBody?: { content: object };
  responses: Record<string, { content?: object }>;
};

const document = async () => (await api.call('GET', '/openapi.json', { key: null })).body as OpenApi;

describe('OpenAPI', () => {
  test('the document is valid OpenAPI 3.1, and each of its schemas is a JSON schema', async () => {
    const text = readFileSync(new URL('../fixtures/openapi-3.1-schema.json', import.meta.url), 'utf8');
    // ajv finds no dynamic anchor below `$defs`; the document extends the dialect nowhere, so a plain reference is the same.
    const schema = JSON.parse(text.replaceAll('"$dynamicRef": "#meta"', '"$ref": "#/$defs/schema"'));
    const ajv = addFormats.default(new Ajv2020({ strict: false, formats: { 'media-range': true } }));
    const validate = ajv.compile(schema);
    const shown = await document();
    expect(validate(shown), JSON.stringify(validate.errors)).toBe(true);
    expect(shown.openapi).toBe('3.1.0');
    const all = { $id: 'keyturn', components: shown.components, $ref: '#/components/schemas/Credential' };
    expect(() => new Ajv2020({ strict: false, validateFormats: false }).compile(all)).not.toThrow();
  });

  test('every route is in it, with its refusals as problems; all but the open ones ask for a key', async () => {
    const { paths } = await document();
    expect(routes.length).toBeGreaterThan(20);
    for (const { method, path, isOpen } of routes) {
      const operation = paths[path]?.[method.toLowerCase()];
      expect(operation, `${method} ${path}`).toBeDefined();
      expect(operation?.security).toEqual(isOpen ? [] : [{ apiKey: [] }]);
      if (!isOpen) expect(operation?.responses['4XX']?.content).toHaveProperty(['application/problem+json']);
    }
    expect(Object.keys(paths['/v1/events']!.post!.requestBody!.content)).toEqual([
      'application/cloudevents+json',
      'application/cloudevents-batch+json',
      'application/json',
    ]);
  });

  test('the reference at /docs loads from here only', async () => {
    const page = await api.call('GET', '/docs/', { key: null });
    expect(page.status).toBe(200);
    expect(page.headers['content-security-policy']).toContain("default-src 'self'");
  });
});

describe('the edge', () => {
  test('every path of /v1 asks for a key, but for browsers that come back and senders who sign', async () => {
    for (const { method, path, isOpen } of routes) {
      if (!path.startsWith('/v1/')) continue;
      if (isOpen) {
        expect(path).toMatch(/^\/v1\/(oauth|alerts)\//);
        continue;
      }
      const headers: Record<string, string> = method === 'GET' ? {} : { 'content-type': 'application/json' };
      const options = { key: null, headers, ...(method !== 'GET' && { body: '{}' }) };
      expectProblem(await api.call(method, path.replace(/\{\w+\}/g, 'x'), options), 401, 'unauthenticated');
    }
  });

  test('an unknown path is 404, a known one with another method is 405 with Allow', async () => {
    expectProblem(await api.call('GET', '/v1/nothing'), 404, 'not_found');
    expectProblem(await api.call('GET', '/%E0%A4%A'), 400, 'invalid_request');
    const answer = await api.call('PUT', '/v1/credentials/x');
    expectProblem(answer, 405, 'method_not_allowed');
    expect(answer.headers.allow).toBe('DELETE, GET');
  });

  test('the instance of a problem is the path without its query, and never a state', async () => {
    const answer = await api.call('GET', '/v1/credentials?state=CANARY');
    expectProblem(answer, 400, 'invalid_request');
    expect(answer.body.instance).toBe('/v1/credentials');
    expect(answer.body.detail).toMatch(/^querystring\.state: /);
    const long = await api.call('GET', `/v1/oauth/start/CANARY${'x'.repeat(200)}`, { key: null });
    expectProblem(long, 400, 'invalid_request');
    expect(long.body.instance).toBe('/v1/oauth/start/:state');
  });

  test('a body beyond the limit of its path is 413', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(300_000), permissions: ['*:*'] });
    const headers = { 'content-type': 'application/json' };
    expectProblem(await api.call('POST', '/v1/principals', { body, headers }), 413, 'payload_too_large');
  });

  test('every reply has the security headers and an id of its own', async () => {
    const [one, two] = [await api.call('GET', '/v1/credentials'), await api.call('GET', '/v1/nothing')];
    for (const { headers } of [one, two]) {
      expect(headers).toMatchObject({
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'strict-transport-security': 'max-age=31536000',
      });
    }
    expect(one.headers['x-request-id']).not.toBe(two.headers['x-request-id']);
  });

  test('what is not HTTP at all is refused and cut off', async () => {
    const { port } = new URL(await api.app.listen({ host: '127.0.0.1', port: 0 }));
    const socket = connect(Number(port), '127.0.0.1');
    socket.write('NONSENSE\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += chunk;
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain('application/problem+json');
  });
});

describe('operation', () => {
  test('metrics count by route, never by path, and hold no id', async () => {
    const doc = await api.seed();
    await api.call('GET', `/v1/credentials/${doc._id}/token`);
    const { status, text } = await api.call('GET', '/metrics', { key: null });
    expect(status).toBe(200);
    expect(text).toContain('route="/v1/credentials/:id/token"');
    expect(text).toContain('keyturn_token_releases_total{service="acme",outcome="released"} 1');
    expect(text).toContain('keyturn_queue_waiting{queue="refresh"} 0');
    for (const hidden of [doc._id, doc.subject, 'tok-1']) expect(text).not.toContain(hidden);
  });

  test('it is ready while MongoDB, Redis and the keys are there, and no longer once it stops', async () => {
    const ready: Answer = await api.call('GET', '/readyz', { key: null });
    const checks = { mongodb: true, redis: true, keys: true, secrets: true, running: true };
    expect(ready).toMatchObject({ status: 200, body: { status: 'ready', checks } });
    api.stopping.abort();
    const stopping = await api.call('GET', '/readyz', { key: null });
    expect(stopping).toMatchObject({
      status: 503,
      body: { status: 'not_ready', checks: { ...checks, running: false } },
    });
    expect((await api.call('GET', '/healthz', { key: null })).body).toEqual({ status: 'ok' });
  });
});
