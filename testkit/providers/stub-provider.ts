import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** One answer of the stub. Fields that are absent are those of a good token reply. */
export type StubReply = {
  status?: number;
  headers?: Record<string, string>;
  /** An object is sent as JSON, a string as it is. */
  body?: unknown;
  /** Waits before it answers. Milliseconds. */
  delayMs?: number;
  /** Never answers, or cuts the connection. */
  fate?: 'hang' | 'reset';
};

/** One request that the stub got. */
export type StubCall = {
  method: string;
  path: string;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  /** The body as a form, or as JSON where it says so. */
  form: Record<string, string>;
};

/** A provider that answers what the test says, on every path. */
export type StubProvider = {
  readonly url: string;
  readonly port: number;
  readonly calls: StubCall[];
  /** Answers for the next calls, in order. After them come good replies again. */
  script(...replies: StubReply[]): void;
  /** The answer for every call that nothing is scripted for. */
  always(reply: StubReply | ((call: StubCall) => StubReply)): void;
  stop(): Promise<void>;
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
  reset: { fate: 'reset' },
} as const satisfies Record<string, StubReply>;

/** Starts the stub on a free port of loopback. Its good reply is a fresh, numbered pair of tokens of an hour. */
export async function startStubProvider(): Promise<StubProvider> {
  const calls: StubCall[] = [];
  const scripted: StubReply[] = [];
  let fallback: (call: StubCall) => StubReply = () => ({});
  const server = createServer(async (request, response) => {
    const call = await readCall(request);
    calls.push(call);
    await answer(response, scripted.shift() ?? fallback(call), calls.length);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    calls,
    script: (...replies) => void scripted.push(...replies),
    always: (reply) => {
      fallback = typeof reply === 'function' ? reply : () => reply;
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function readCall(request: IncomingMessage): Promise<StubCall> {
  let body = '';
  for await (const chunk of request) body += chunk;
  const isJson = request.headers['content-type']?.includes('json') && body !== '';
  const form = isJson ? JSON.parse(body) : Object.fromEntries(new URLSearchParams(body));
  return { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body, form };
}

async function answer(response: ServerResponse, reply: StubReply, number: number): Promise<void> {
  if (reply.delayMs) await new Promise((resolve) => setTimeout(resolve, reply.delayMs));
  if (reply.fate === 'hang') return;
  if (reply.fate === 'reset') return void response.socket?.resetAndDestroy();
  const body = reply.body ?? goodReply(number);
  response.writeHead(reply.status ?? 200, { 'content-type': 'application/json', ...reply.headers });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
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
