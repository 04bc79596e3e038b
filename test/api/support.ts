import { randomBytes } from 'node:crypto';
import type { InjectOptions } from 'fastify';
import { afterAll, expect } from 'vitest';
import { makeApp } from '../../src/api/app.ts';
import type { App } from '../../src/api/http/context.ts';
import { bootstrap, FIRST_TENANT_ID } from '../../src/shared/access/bootstrap.ts';
import { makeMetrics } from '../../src/shared/runtime/metrics.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import { insertCredential } from '../../testkit/credentials.ts';
import { cloudEvent } from '../../testkit/messages/events.ts';
import { startSystem, type TestSystem } from '../../testkit/system.ts';

export const PUBLIC_URL = 'https://keyturn.test';

/** One answer of the API. */
// biome-ignore lint/suspicious/noExplicitAny: replies are asserted, not typed.
export type Answer = { status: number; headers: Record<string, unknown>; text: string; body: any };

export type TestApi = TestSystem & {
  app: App;
  /** Has every permission in the first tenant. */
  adminKey: string;
  /** A request with an API key; with `key: null` without one. A `body` that is no string is sent as JSON. */
  call(method: InjectOptions['method'], url: string, options?: CallOptions): Promise<Answer>;
  /** A key of the first tenant with just these permissions. */
  keyWith(...permissions: string[]): Promise<string>;
  /** The admin key of a new tenant. */
  otherTenant(): Promise<{ tenantId: string; key: string }>;
  /** A credential as the workers would have made it. */
  seed(fields?: Partial<CredentialDoc> & { token?: string }): Promise<CredentialDoc>;
  stopping: AbortController;
};

export type CallOptions = { key?: string | null; body?: unknown; headers?: Record<string, string> };

/** The API in this process, on real servers. It is stopped after the tests of the file. */
export async function startApi(env: Record<string, string>): Promise<TestApi> {
  const adminKey = `kt_live_${randomBytes(32).toString('base64url')}`;
  const system = await startSystem({ KEYTURN_PUBLIC_URL: PUBLIC_URL, ...env, KEYTURN_BOOTSTRAP_KEY: adminKey });
  await bootstrap(system.deps);
  const stopping = new AbortController();
  const app = await makeApp(system.deps, { metrics: makeMetrics(), stopping: stopping.signal });
  afterAll(async () => {
    await app.close();
    await system.stop();
  });

  const call: TestApi['call'] = async (method, url, { key = adminKey, body, headers = {} } = {}) => {
    const json = body !== undefined && typeof body !== 'string';
    const response = await app.inject({
      method: method ?? 'GET',
      url,
      headers: {
        ...(key !== null && { authorization: `Bearer ${key}` }),
        ...(json && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { payload: json ? JSON.stringify(body) : (body as string) }),
    });
    const isJson = /\bjson\b/.test(String(response.headers['content-type']));
    return {
      status: response.statusCode,
      headers: response.headers,
      text: response.body,
      body: isJson ? response.json() : null,
    };
  };

  const keyWith = async (...permissions: string[]) => {
    const made = await call('POST', '/v1/principals', { body: { name: 'test', permissions } });
    expect(made.status).toBe(201);
    return made.body.key as string;
  };

  const otherTenant = async () => {
    const made = await call('POST', '/v1/tenants', { body: { name: 'other' } });
    expect(made.status).toBe(201);
    return { tenantId: made.body.id as string, key: made.body.admin.key as string };
  };

  const seed: TestApi['seed'] = ({ token = 'tok-1', ...fields } = {}) =>
    insertCredential(system.deps, {
      tenantId: FIRST_TENANT_ID,
      accessToken: token,
      refreshToken: `refresh-${token}`,
      fingerprints: ['v1.fingerprint'],
      due: { refresh: new Date(Date.now() + 1_800_000) },
      ...fields,
    });
  return { ...system, app, adminKey, call, keyWith, otherTenant, seed, stopping };
}

/** A CloudEvent in the JSON format that imports an API key. */
export function importEvent(fields: Record<string, unknown> = {}, data: Record<string, unknown> = {}) {
  const wanted = { service: 'acme', subject: randomBytes(8).toString('hex'), accessToken: 'key-CANARY-9f2c', ...data };
  return cloudEvent('credential.import.requested', wanted, fields);
}

/** The service `acme`, of which nothing is called. */
export const ACME = {
  KEYTURN_PROVIDERS: 'acme',
  KEYTURN_PROVIDER_ACME_TYPE: 'oauth2',
  KEYTURN_PROVIDER_ACME_CLIENT_ID: 'client',
  KEYTURN_PROVIDER_ACME_CLIENT_SECRET: 'secret',
  KEYTURN_PROVIDER_ACME_AUTHORIZE_URL: 'https://acme.test/authorize',
  KEYTURN_PROVIDER_ACME_TOKEN_URL: 'https://acme.test/token',
};

/** Asserts an RFC 9457 problem of this code that holds none of the request's secrets. */
export function expectProblem(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, type: answer.body?.type }).toEqual({
    status,
    type: `https://keyturn.dev/problems/${code}`,
  });
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(answer.body).toMatchObject({ status, title: expect.any(String), instance: expect.any(String) });
  expect(answer.text).not.toContain('CANARY');
}
