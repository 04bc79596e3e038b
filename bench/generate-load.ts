import { once } from 'node:events';
import { end, forkAndHear } from './children.ts';
import type { Load, LoadResult } from './load.ts';

/** Runs a load in a process of its own. Throws when an answer had another status than `expected`. */
export async function generateLoad(load: Load, expected: string): Promise<LoadResult> {
  const { child } = await forkAndHear('./load.ts');
  const answer = once(child, 'message');
  child.send(load);
  const [result] = (await answer) as [LoadResult];
  await end(child);
  if (Object.keys(result.statuses).some((status) => status !== expected)) {
    throw new Error(`expected ${expected} only, got ${JSON.stringify(result.statuses)}`);
  }
  return result;
}

/** One HTTP/1.1 request as text. */
export function message(method: string, path: string, key: string, body?: { type: string; text: string }): string {
  const head = [`${method} ${path} HTTP/1.1`, 'host: 127.0.0.1', `authorization: Bearer ${key}`];
  if (!body) return `${head.join('\r\n')}\r\n\r\n`;
  head.push(`content-type: ${body.type}`, `content-length: ${Buffer.byteLength(body.text)}`);
  return `${head.join('\r\n')}\r\n\r\n${body.text}`;
}
