/** A whole Keyturn in processes of its own, used as an app and a person use it: by HTTP only. */
import { randomBytes, randomInt } from 'node:crypto';
import { MongoClient } from 'mongodb';
import { afterAll, expect } from 'vitest';
import { type Browser, openBrowser } from '../../local/browser.ts';
import { freePort } from '../../local/ports.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import type { EventDoc } from '../../src/shared/store/lifecycle/events.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/authorization-server.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/process.ts';
import { until } from '../../testkit/signals.ts';
import { providerEnvironment } from '../../testkit/system.ts';

export type Environment = Record<string, string>;

/** An answer of the API. `body` is its JSON, or its text where it is none. */
export type Answer = { status: number; headers: Headers; text: string; body: Record<string, unknown> };

/** One caller of the API. */
export type Caller = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer>;

/** A Keyturn under test. `env` is what its processes are started with. */
export type Keyturn = {
  readonly env: Environment;
  readonly baseUrl: string;
  readonly adminKey: string;
  /** The processes started so far, dead ones too. */
  readonly processes: KeyturnProcess[];
  /** As the admin of the first tenant. */
  call: Caller;
  as(key: string): Caller;
  startApi(): Promise<KeyturnProcess>;
  startWorkers(): Promise<KeyturnProcess>;
  /** Sends one CloudEvent. */
  send(type: string, data: Record<string, unknown>, id?: string): Promise<Answer>;
  credentials(query?: object): Promise<CredentialDoc[]>;
  events(query?: object): Promise<EventDoc[]>;
  /** The database itself, to look at what lies in it. */
  readonly mongo: MongoClient;
};

/** A key of the form that is asked for. */
export function newApiKey(): string {
  return `kt_live_${randomBytes(32).toString('base64url')}`;
}

/** Describes a Keyturn; nothing runs until `startApi` and `startWorkers`. All of it ends with the tests of the file. */
export async function makeKeyturn(given: Environment): Promise<Keyturn> {
  const port = given.KEYTURN_PORT ?? String(await portForApi());
  const adminKey = given.KEYTURN_BOOTSTRAP_KEY ?? newApiKey();
  const env: Environment = {
    KEYTURN_RATE_LIMIT_PER_MINUTE: '10000000',
    ...given,
    // Processes say that they are ready through their log.
    KEYTURN_LOG_LEVEL: given.KEYTURN_LOG_LEVEL === 'trace' ? 'trace' : 'info',
    KEYTURN_PORT: port,
    KEYTURN_BOOTSTRAP_KEY: adminKey,
  };
  const baseUrl = `http://127.0.0.1:${port}`;
  const processes: KeyturnProcess[] = [];
  const mongo = new MongoClient(env.MONGODB_URI!, { serverSelectionTimeoutMS: 30_000 });
  const db = () => mongo.db(env.KEYTURN_DATABASE);
  afterAll(async () => {
    await Promise.all(processes.map((one) => one.kill9()));
    await mongo.close();
  });
  const start = async (program: 'api' | 'workers', ready: string) => {
    const started = await startProcess(program, env);
    processes.push(started);
    const ended = started.exited.then((code) => {
      throw new Error(`${program} ended with ${code} before it was ready:\n${started.output()}`);
    });
    await Promise.race([started.waitForLog(ready, { timeoutMs: 60_000 }), ended]);
    return started;
  };
  const call = callerAt(baseUrl, adminKey);
  return {
    env,
    baseUrl,
    adminKey,
    processes,
    mongo,
    call,
    as: (key) => callerAt(baseUrl, key),
    startApi: () => start('api', 'listening'),
    startWorkers: () => start('workers', 'workers are running'),
    send: (type, data, id = randomBytes(8).toString('hex')) =>
      call(
        'POST',
        '/v1/events',
        { specversion: '1.0', id, source: 'urn:e2e', type, data },
        { 'content-type': 'application/cloudevents+json' },
      ),
    credentials: (query = {}) => db().collection<CredentialDoc>('credentials').find(query).toArray(),
    events: (query = {}) => db().collection<EventDoc>('events').find(query).toArray(),
  };
}

function callerAt(baseUrl: string, key: string): Caller {
  return async (method, path, body, headers = {}) => {
    const isText = typeof body === 'string';
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: isText ? body : JSON.stringify(body) }),
    });
    return toAnswer(response);
  };
}

/** Reads a reply to its end. */
export async function toAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  const body = (isJson && text !== '' ? JSON.parse(text) : {}) as Record<string, unknown>;
  return { status: response.status, headers: response.headers, text, body };
}

/** A free port that no outgoing connection takes before the API listens: below those that systems give to clients. */
export function portForApi(): Promise<number> {
  return freePort(randomInt(20_000, 30_000));
}

/** The variables of the service `acme` on `server`. */
export function acmeOn(server: AuthorizationServer): Environment {
  return { ...providerEnvironment('acme', server), KEYTURN_PROVIDER_ACME_SCOPES: 'openid offline_access read' };
}

/** The variables of the service `stub` on a stub that answers what a test says. */
export function stubAt({ url }: { url: string }, clientSecret = 'stub-secret'): Environment {
  return {
    KEYTURN_PROVIDERS: 'stub',
    KEYTURN_PROVIDER_STUB_TYPE: 'oauth2',
    KEYTURN_PROVIDER_STUB_AUTHORIZE_URL: `${url}/authorize`,
    KEYTURN_PROVIDER_STUB_TOKEN_URL: `${url}/token`,
    KEYTURN_PROVIDER_STUB_REVOKE_URL: `${url}/revoke`,
    KEYTURN_PROVIDER_STUB_INTROSPECT_URL: `${url}/introspect`,
    KEYTURN_PROVIDER_STUB_CLIENT_ID: 'keyturn',
    KEYTURN_PROVIDER_STUB_CLIENT_SECRET: clientSecret,
  };
}

/** A strict authorization server whose only client is the Keyturn that will listen on `port`. */
export async function startServerFor(port: number, scopes?: string[]): Promise<AuthorizationServer> {
  const redirectUri = `http://127.0.0.1:${port}/v1/oauth/callback`;
  return startAuthorizationServer({ redirectUri, ...(scopes && { scopes }) });
}

/** Begins an authorization. */
export async function authorize(keyturn: Keyturn, service: string, subject: string): Promise<string> {
  const answer = await keyturn.call('POST', '/v1/authorizations', { service, subject });
  expect(answer.status, answer.text).toBe(201);
  return answer.body.authorizationUrl as string;
}

/** Walks a browser from the start page to where the provider sends it back to: the callback, which is not visited. */
export async function walkToCallback(
  server: AuthorizationServer,
  authorizationUrl: string,
  browser: Browser = openBrowser(),
): Promise<string> {
  const { url } = await browser.follow(authorizationUrl, { stop: ({ origin }) => origin === server.issuer });
  return server.consent(url, { browser });
}

/** Connects an account as a person does: start page, login and consent, callback. Resolves to the last page. */
export async function connect(
  keyturn: Keyturn,
  server: AuthorizationServer,
  { service = 'acme', subject }: { service?: string; subject: string },
): Promise<Answer> {
  const browser = openBrowser();
  const callback = await walkToCallback(server, await authorize(keyturn, service, subject), browser);
  return toAnswer(await browser.request(callback));
}

/** Calls `work` for 0 … count − 1, at most `limit` at once. */
export async function repeat(count: number, limit: number, work: (index: number) => Promise<void>): Promise<void> {
  const indexes = Array.from({ length: count }, (_, index) => index).values();
  const lane = async () => {
    for (const index of indexes) await work(index);
  };
  await Promise.all(Array.from({ length: Math.min(limit, count) }, lane));
}

/** Waits until every event is settled, and returns them. */
export function allSettled(keyturn: Keyturn, timeoutMs = 30_000): Promise<EventDoc[]> {
  return until(
    async () => {
      const events = await keyturn.events();
      return events.every(({ status }) => status === 'succeeded' || status === 'failed') ? events : null;
    },
    { what: 'every event to end', timeoutMs, everyMs: 200 },
  );
}

/** The id of the one event that an answer of `send` accepts. */
export async function acceptedId(answer: Answer): Promise<string> {
  expect(answer.status, answer.text).toBe(202);
  return (answer.body.results as { eventId: string }[])[0]!.eventId;
}

/** The event once it has ended, as the API tells it. */
export function outcomeOf(keyturn: Keyturn, eventId: string): Promise<Record<string, unknown>> {
  return until(
    async () => {
      const { body } = await keyturn.call('GET', `/v1/events/${eventId}`);
      return ['succeeded', 'failed', 'parked'].includes(body.status as string) ? body : null;
    },
    { what: `event ${eventId} to end`, timeoutMs: 25_000, everyMs: 100 },
  );
}

/** Events that are open or held: work that somebody would have to finish. */
export async function openWork(keyturn: Keyturn): Promise<EventDoc[]> {
  return keyturn.events({ $or: [{ lease: { $ne: null } }, { status: { $in: ['accepted', 'processing'] } }] });
}
