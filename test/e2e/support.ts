/** A whole Keyturn in processes of its own, used as an app and a person use it: by HTTP only. */
import { randomBytes } from 'node:crypto';
import { MongoClient } from 'mongodb';
import { afterAll, expect } from 'vitest';
import { type Browser, openBrowser } from '../../local/tools/browser.ts';
import { freePort } from '../../local/tools/ports.ts';
import { inParallel } from '../../src/shared/platform/concurrency/in-parallel.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import type { EventDoc } from '../../src/shared/store/lifecycle/events.ts';
import { type Answer, type Caller, callerAt, toAnswer } from '../../testkit/messages/caller.ts';
import { cloudEvent, STRUCTURED } from '../../testkit/messages/events.ts';
import { type KeyturnProcess, startProcess } from '../../testkit/processes/keyturn.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { atIssuer, atUrl, services } from '../../testkit/services.ts';
import { PATIENCE_MS, until } from '../../testkit/until.ts';

export type Environment = Record<string, string>;

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
  send(type: string, data: object): Promise<Answer>;
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
  const port = given.KEYTURN_PORT ?? String(await freePort());
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
    await started.waitForLog(ready);
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
    send: (type, data) => call('POST', '/v1/events', cloudEvent(type, data), STRUCTURED),
    credentials: (query = {}) => db().collection<CredentialDoc>('credentials').find(query).toArray(),
    events: (query = {}) => db().collection<EventDoc>('events').find(query).toArray(),
  };
}

/** The variables of the service `acme` on `server`. */
export function acmeOn(server: AuthorizationServer): Environment {
  return services({ acme: { ...atIssuer(server), scopes: 'openid offline_access read' } });
}

/** The variables of the service `stub` on a stub that answers what a test says. */
export function stubAt({ url }: { url: string }, clientSecret = 'stub-secret'): Environment {
  return services({ stub: { ...atUrl(url), client_secret: clientSecret } });
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
  return answer.body.authorizationUrl;
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

/** Connects `person-0` and so on, several at once. */
export async function connectAll(
  keyturn: Keyturn,
  server: AuthorizationServer,
  { count, atOnce }: { count: number; atOnce: number },
): Promise<void> {
  const subjects = Array.from({ length: count }, (_, index) => `person-${index}`);
  await inParallel(subjects, atOnce, async (subject) => {
    const page = await connect(keyturn, server, { subject });
    expect(page.status, page.text).toBe(200);
  });
}

/** Waits until every event is settled, and returns them. */
export function allSettled(keyturn: Keyturn): Promise<EventDoc[]> {
  return until(
    async () => {
      const events = await keyturn.events();
      return events.every(({ status }) => status === 'succeeded' || status === 'failed') ? events : null;
    },
    { what: 'every event to end', timeoutMs: 2 * PATIENCE_MS, everyMs: 200 },
  );
}

/** The id of the one event that an answer of `send` accepts. */
export function acceptedId(answer: Answer): string {
  expect(answer.status, answer.text).toBe(202);
  return answer.body.results[0].eventId;
}

/** The event once it has ended, as the API tells it. */
export function outcomeOf(keyturn: Keyturn, eventId: string): Promise<Record<string, unknown>> {
  return until(
    async () => {
      const { body } = await keyturn.call('GET', `/v1/events/${eventId}`);
      return ['succeeded', 'failed', 'parked'].includes(body.status as string) ? body : null;
    },
    { what: `event ${eventId} to end`, everyMs: 100 },
  );
}

/** Events that are open or held: work that somebody would have to finish. */
export async function openWork(keyturn: Keyturn): Promise<EventDoc[]> {
  return keyturn.events({ $or: [{ lease: { $ne: null } }, { status: { $in: ['accepted', 'processing'] } }] });
}
