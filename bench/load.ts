/**
 * A load generator of its own process: `connections` sockets, each asking for the next path when the last answer is in.
 * Plain sockets, so that the generator costs less than what it measures.
 */
import { connect } from 'node:net';

/** Sent by the parent: where to, how many requests, what to ask for. */
export type Load = {
  port: number;
  connections: number;
  requests: number;
  /** Whole requests, head and body; they are sent in turns. */
  messages: string[];
};

export type LoadResult = { ms: number; statuses: Record<string, number> };

process.once('message', async (load: Load) => {
  const statuses: Record<string, number> = {};
  let next = 0;
  const take = () => (next < load.requests ? load.messages[next++ % load.messages.length] : undefined);
  const begin = performance.now();
  await Promise.all(Array.from({ length: load.connections }, () => takeTurns(load.port, take, statuses)));
  process.send?.({ ms: performance.now() - begin, statuses } satisfies LoadResult);
});

process.send?.('ready');

function takeTurns(port: number, take: () => string | undefined, statuses: Record<string, number>): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    const ask = () => {
      const message = take();
      if (message === undefined) {
        socket.end();
        resolve();
      } else socket.write(message);
    };
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('connect', ask);
    socket.on('error', reject);
    socket.on('data', (part) => {
      text += part;
      const head = text.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
      if (text.length < head + 4 + length) return;
      const status = text.slice(9, 12);
      statuses[status] = (statuses[status] ?? 0) + 1;
      text = '';
      ask();
    });
  });
}
