import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { readBody, serveOnLoopback } from '../../local/tools/loopback.ts';

/** One answer of the stub. Fields that are absent are those of a good token reply. */
export type StubReply = {
  status?: number;
  headers?: Record<string, string>;
  /** An object is sent as JSON, a string as it is. */
  body?: unknown;
  /** Waits before it answers. Milliseconds. */
  delayMs?: number;
  /** Never answers, begins an answer and never ends it, or cuts the connection. */
  fate?: 'hang' | 'trickle' | 'reset';
};

/** One request that the stub got. */
export type StubCall = {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  /** The body as a form, or as JSON where it says so. */
  form: Record<string, string>;
};

/** What is answered: always the same, or what a function makes of the call. */
export type StubAnswer = StubReply | ((call: StubCall) => StubReply);

/** A provider that answers what the test says, on every path. */
export type StubProvider = {
  readonly url: string;
  readonly port: number;
  readonly calls: StubCall[];
  /** Connections that were made so far. */
  connections(): number;
  /** Answers for the next calls, in order. After them come the others again. */
  script(...answers: StubAnswer[]): void;
  /** The answer for every call to a `METHOD /path` that nothing is scripted for. */
  at(route: string, answer: StubAnswer): void;
  /** The answer for every call that nothing else is said of. */
  always(answer: StubAnswer): void;
  stop(): Promise<void>;
};

export type StubOptions = {
  /** False for a stub under load: calls are counted, neither read nor kept. */
  keepsCalls?: boolean;
};

/** Ready-made replies. */
export const REPLIES = {
  unavailable: { status: 503, body: { error: 'temporarily_unavailable' } },
  throttled: { status: 429, headers: { 'retry-after': '2' }, body: { error: 'rate_limited' } },
  html: { status: 503, headers: { 'content-type': 'text/html' }, body: '<html><h1>Service Unavailable</h1></html>' },
  okWithError: { status: 200, body: { error: 'bad_verification_code', error_description: 'The code is wrong.' } },
  invalidGrant: { status: 400, body: { error: 'invalid_grant' } },
  invalidClient: { status: 401, body: { error: 'invalid_client' } },
  hang: { fate: 'hang' },
  trickle: { fate: 'trickle' },
  reset: { fate: 'reset' },
} as const satisfies Record<string, StubReply>;

/** Starts the stub on a free port of loopback. Its good reply is a fresh, numbered pair of tokens of an hour. */
export async function startStubProvider({ keepsCalls = true }: StubOptions = {}): Promise<StubProvider> {
  const calls: StubCall[] = [];
  const scripted: StubAnswer[] = [];
  const routes = new Map<string, StubAnswer>();
  const seen = { calls: 0, connections: 0 };
  let fallback: StubAnswer = {};
  const onConnection = () => {
    seen.connections += 1;
  };
  const choose = (call: StubCall): StubReply => {
    const answer = scripted.shift() ?? routes.get(`${call.method} ${call.path.split('?')[0]}`) ?? fallback;
    return typeof answer === 'function' ? answer(call) : answer;
  };
  const server = await serveOnLoopback(
    async (request, response) => {
      const call = keepsCalls ? await readCall(request) : glanceAt(request);
      if (keepsCalls) calls.push(call);
      seen.calls += 1;
      give(response, choose(call), seen.calls);
    },
    { keepAliveTimeout: 30_000, onConnection },
  );
  return {
    ...server,
    calls,
    connections: () => seen.connections,
    script: (...answers) => void scripted.push(...answers),
    at: (route, answer) => void routes.set(route, answer),
    always: (answer) => {
      fallback = answer;
    },
  };
}

async function readCall(request: IncomingMessage): Promise<StubCall> {
  const body = await readBody(request);
  const isJson = request.headers['content-type']?.includes('json') && body !== '';
  const form = isJson ? JSON.parse(body) : Object.fromEntries(new URLSearchParams(body));
  return { ...glanceAt(request), body, form };
}

/** The call without its body, which is thrown away when nobody reads it. */
function glanceAt(request: IncomingMessage): StubCall {
  request.resume();
  return { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body: '', form: {} };
}

function give(response: ServerResponse, { delayMs, ...reply }: StubReply, number: number): void {
  if (delayMs) setTimeout(() => give(response, reply, number), delayMs);
  else if (reply.fate === 'reset') response.socket?.resetAndDestroy();
  else if (reply.fate === 'trickle') response.writeHead(200, { 'content-type': 'application/json' }).write('{');
  else if (reply.fate !== 'hang') {
    const body = reply.body === undefined ? goodReply(number) : reply.body;
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    response.writeHead(reply.status ?? 200, { ...headers, ...reply.headers }).end(text);
  }
}

/** For instance to send it without `expires_in`: `{ body: { ...goodReply(1), expires_in: undefined } }`. */
export function goodReply(number: number): Record<string, unknown> {
  return {
    access_token: `stub-access-${number}`,
    refresh_token: `stub-refresh-${number}`,
    token_type: 'Bearer',
    expires_in: 3600,
    scope: 'read',
  };
}
