import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** An HTTP server that this machine alone reaches. */
export type LoopbackServer = {
  readonly url: string;
  readonly port: number;
  /** Ends open connections too. May be called again. */
  stop(): Promise<void>;
};

/** Answers one request. What it throws ends the process: a stub that fails must not pass for a provider that is down. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => unknown;

export type LoopbackOptions = ServerOptions & { port?: number; onConnection?: () => void };

/** Serves `handler` on 127.0.0.1, on a free port unless one is given. */
export async function serveOnLoopback(
  handler: Handler,
  { port = 0, onConnection = () => {}, ...options }: LoopbackOptions = {},
): Promise<LoopbackServer> {
  const server = createServer(options, handler);
  server.on('connection', onConnection);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    stop: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The whole body, as text. */
export async function readBody(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const part of request) body += part;
  return body;
}
