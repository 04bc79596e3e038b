import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { describe, expect, test } from 'vitest';
import { testEnvironment } from '../harness/system.ts';
import { ACME, type Answer, expectProblem, startApi } from './support.ts';

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
    const shown = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(shown.sort()).toEqual(
      [
        'DELETE /v1/credentials/{id}',
        'DELETE /v1/principals/{id}',
        'GET /healthz',
        'GET /metrics',
        'GET /openapi.json',
        'GET /readyz',
        'GET /v1/audit',
        'GET /v1/credentials',
        'GET /v1/credentials/{id}',
        'GET /v1/credentials/{id}/token',
        'GET /v1/events/{id}',
        'GET /v1/oauth/callback',
        'GET /v1/oauth/start/{state}',
        'GET /v1/principals',
        'POST /v1/authorizations',
        'POST /v1/credentials/{id}/quarantine',
        'POST /v1/credentials/{id}/refresh',
        'POST /v1/credentials/{id}/restore',
        'POST /v1/credentials/{id}/revoke',
        'POST /v1/events',
        'POST /v1/principals',
        'POST /v1/tenants',
      ].sort(),
    );
    for (const [path, methods] of Object.entries(paths)) {
      for (const operation of Object.values(methods)) {
        const isOpen = !path.startsWith('/v1/') || path.startsWith('/v1/oauth/');
        expect(operation.security).toEqual(isOpen ? [] : [{ apiKey: [] }]);
        if (isOpen) continue;
        expect(operation.responses['4XX']?.content).toHaveProperty(['application/problem+json']);
      }
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
  test('every path of /v1 but the two of the browser asks for a key', async () => {
    const { paths } = await document();
    for (const [path, methods] of Object.entries(paths)) {
      if (!path.startsWith('/v1/') || path.startsWith('/v1/oauth/')) continue;
      for (const method of Object.keys(methods) as ('get' | 'post' | 'delete')[]) {
        const upper = method.toUpperCase() as 'GET' | 'POST' | 'DELETE';
        const headers: Record<string, string> = upper === 'GET' ? {} : { 'content-type': 'application/json' };
        const answer = await api.call(upper, path.replace('{id}', 'x'), { key: null, body: '{}', headers });
        expectProblem(answer, 401, 'unauthenticated');
      }
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
