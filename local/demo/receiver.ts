import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { Webhook } from 'standardwebhooks';

export type Told = { type: string; data: { credentialId?: string | null } & Record<string, unknown> };

/** Someone who is told by webhook, and believes only what is signed. */
export type Receiver = {
  readonly url: string;
  /** What came with a good signature, in order. */
  readonly told: Told[];
  /** How many deliveries were not signed as they should be. */
  forged(): number;
  trust(secret: string): void;
  stop(): Promise<void>;
};

/** Listens on loopback. Deliveries are checked with the library of the Standard Webhooks scheme. */
export async function startReceiver(): Promise<Receiver> {
  const told: Told[] = [];
  let forged = 0;
  let webhook: Webhook | null = null;
  const server = createServer(async (request, response) => {
    const body = await readBody(request);
    try {
      told.push(webhook!.verify(body, request.headers as Record<string, string>) as Told);
      response.writeHead(204).end();
    } catch {
      forged += 1;
      response.writeHead(401).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}/hook`,
    told,
    forged: () => forged,
    trust: (secret) => {
      webhook = new Webhook(secret);
    },
    stop: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}
