import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { readBody, serveOnLoopback } from '../../local/tools/loopback.ts';

/** One message that a receiver was sent. `at`: when its body had come, milliseconds since the epoch. */
export type Received = { path: string; headers: IncomingHttpHeaders; body: string; at: number };

export type ReceiverAnswer = 'accept' | 'hang' | { status: number; headers?: Record<string, string>; body?: string };

/** Consumers of webhooks, one for each path, that answer what the test says and keep what they were sent. */
export type Receiver = {
  readonly url: string;
  readonly received: Received[];
  /** Message ids that a path has accepted, with how often. */
  accepted(path: string): Map<string, number>;
  /** What a path answers from now on. Without an answer: 200 with no body. */
  answer(path: string, answer: ReceiverAnswer): void;
  stop(): Promise<void>;
};

/** Starts it on a free port of loopback. */
export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const answers = new Map<string, ReceiverAnswer>();
  const accepted = new Map<string, Map<string, number>>();
  const server = await serveOnLoopback(async (request, response) => {
    const path = request.url ?? '';
    const body = await readBody(request);
    received.push({ path, headers: request.headers, body, at: Date.now() });
    const answer = answers.get(path) ?? 'accept';
    if (answer === 'accept') count(accepted, path, String(request.headers['webhook-id']));
    give(response, answer);
  });
  return {
    url: server.url,
    received,
    accepted: (path) => accepted.get(path) ?? new Map(),
    answer: (path, answer) => void answers.set(path, answer),
    stop: server.stop,
  };
}

function count(accepted: Map<string, Map<string, number>>, path: string, id: string): void {
  const ids = accepted.get(path) ?? new Map<string, number>();
  accepted.set(path, ids.set(id, (ids.get(id) ?? 0) + 1));
}

function give(response: ServerResponse, answer: ReceiverAnswer): void {
  if (answer === 'hang') return;
  if (answer === 'accept') return void response.writeHead(200).end();
  response.writeHead(answer.status, answer.headers).end(answer.body ?? '');
}
