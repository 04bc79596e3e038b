import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll } from 'vitest';
import { systemClock } from '../../src/shared/platform/clock.ts';
import type { ProviderSettings } from '../../src/shared/platform/config/provider-settings.ts';
import { Secret } from '../../src/shared/platform/secret.ts';

/** A request that the stub saw. */
export type SeenRequest = { method: string; url: string; headers: IncomingMessage['headers']; body: string };

/** How the stub answers: a status with a JSON value, or a function that does as it likes. */
export type StubAnswer =
  | { status?: number; json?: unknown; text?: string; type?: string; headers?: Record<string, string> }
  | ((request: SeenRequest, response: ServerResponse) => void);

/** A node:http server that answers as it is told and remembers what it was asked. */
export type Stub = {
  url: string;
  seen: SeenRequest[];
  connections: () => number;
  answer(next: StubAnswer): void;
  /** By `METHOD /path`, in place of the answer for all. */
  answerAt(route: string, next: StubAnswer): void;
  stop(): Promise<void>;
};

/** Starts a stub that is stopped after the tests of the file. */
export async function startStub(): Promise<Stub> {
  const seen: SeenRequest[] = [];
  const routes = new Map<string, StubAnswer>();
  let connections = 0;
  let answer: StubAnswer = { status: 500 };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const { method = '', url = '', headers } = request;
    const entry = { method, url, headers, body };
    seen.push(entry);
    send(routes.get(`${method} ${url.split('?')[0]}`) ?? answer, entry, response);
  });
  server.on('connection', () => {
    connections++;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  afterAll(stop);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    connections: () => connections,
    answer: (next) => {
      answer = next;
    },
    answerAt: (route, next) => void routes.set(route, next),
    stop,
  };
}

function send(answer: StubAnswer, request: SeenRequest, response: ServerResponse): void {
  if (typeof answer === 'function') {
    answer(request, response);
    return;
  }
  const text = answer.text ?? (answer.json === undefined ? '' : JSON.stringify(answer.json));
  const type = answer.type ?? 'application/json';
  response.writeHead(answer.status ?? 200, { 'content-type': type, ...answer.headers }).end(text);
}

/** Bound of a call in these tests. Milliseconds. */
export const TIMEOUT_MS = 400;

export const deps = { clock: systemClock, timeoutMs: TIMEOUT_MS };

export function call(): { signal: AbortSignal } {
  return { signal: new AbortController().signal };
}

export const CLIENT_SECRET = 'canary-client-secret+/=:%';

/** Settings of a service with a client. */
export function settingsOf(service: string, more: Partial<ProviderSettings> = {}): ProviderSettings {
  return { service, clientId: 'client-1', clientSecret: new Secret(CLIENT_SECRET), extra: {}, ...more };
}

/** Runs to the error that it must throw. */
export async function errorOf(work: Promise<unknown>): Promise<Error & { code?: string; retryAfterMs?: number }> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not throw');
}
