/**
 * Appends OCSF 1.8 events to one file per tenant and day (UTC, of the entry), for a SIEM's collector to follow. What a file
 * holds already is not written again, so a repetition after a crash leaves no double.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { z } from 'zod';
import { type DeliveryOutcome, defineSink, type Message } from '../contract.ts';
import { toOcsf } from '../ocsf.ts';

const PRODUCT = { version: '1' };
/** Files that are kept in mind at most: the present day's of so many tenants. */
const MAX_FILES = 200;

/** What is known of a file: how far it was read, and the ids in it. */
type Known = { size: number; ids: Set<string>; torn: boolean };

export const plugin = defineSink({
  name: 'ocsf-jsonl',
  about: 'appends OCSF 1.8 events to KEYTURN_OCSF_DIR/<tenant id>-<day>.jsonl',
  secret: 'none',
  batchSize: 500,
  concurrency: 1,

  settings: () => z.strictObject({}),

  create({ config, log }) {
    const files = new Map<string, Known>();
    // Two subscriptions of a tenant share a file: one at a time.
    let last: Promise<unknown> = Promise.resolve();
    return {
      deliver(messages, { tenantId }, signal): Promise<DeliveryOutcome> {
        const turn = last.then(async (): Promise<DeliveryOutcome> => {
          if (signal.aborted) return { kind: 'interrupted' };
          try {
            await mkdir(config.ocsfDir, { recursive: true, mode: 0o700 });
            for (const [day, group] of Map.groupBy(messages, ({ timestamp }) => timestamp.slice(0, 10))) {
              const path = join(config.ocsfDir, `${encodeURIComponent(tenantId)}-${day}.jsonl`);
              await appendNew(files, path, group);
            }
            return { kind: 'delivered' };
          } catch (err) {
            log.warn({ err }, 'the ocsf-jsonl sink cannot write');
            return { kind: 'retry', reason: 'file_unavailable' };
          }
        });
        last = turn;
        return turn;
      },
    };
  },
});

/** On disk when it resolves. */
async function appendNew(files: Map<string, Known>, path: string, messages: Message[]): Promise<void> {
  const file = await open(path, 'a+', 0o600);
  try {
    const known = await readOn(file, files.get(path));
    files.delete(path);
    if (files.size >= MAX_FILES) files.delete(files.keys().next().value!);
    files.set(path, known);
    const fresh = messages.filter(({ id }) => !known.ids.has(id));
    if (fresh.length === 0) return;
    const lines = fresh.map((message) => `${JSON.stringify(toOcsf(message, PRODUCT))}\n`).join('');
    // What a crash left of a line gets an end of its own.
    await file.appendFile(known.torn ? `\n${lines}` : lines);
    await file.datasync();
  } finally {
    await file.close();
  }
}

const READ_BYTES = 1024 * 1024;

const UID = /"uid":"(ent_[0-9a-f]+)","sequence":/;

/** Reads what was appended since the last look, by whichever process. */
async function readOn(file: FileHandle, before: Known = { size: 0, ids: new Set(), torn: false }): Promise<Known> {
  const { size } = await file.stat();
  // A shorter file was replaced: it is read from its beginning.
  const known = size < before.size ? { size: 0, ids: new Set<string>(), torn: false } : before;
  let rest = '';
  for (const decoder = new StringDecoder('utf8'); known.size < size; ) {
    const length = Math.min(READ_BYTES, size - known.size);
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(length), position: known.size });
    if (bytesRead === 0) break;
    known.size += bytesRead;
    const lines = (rest + decoder.write(buffer.subarray(0, bytesRead))).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const uid = UID.exec(line)?.[1];
      if (uid) known.ids.add(uid);
    }
  }
  return { ...known, torn: rest !== '' };
}
