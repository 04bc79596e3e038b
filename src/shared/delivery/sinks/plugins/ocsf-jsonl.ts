/**
 * Appends OCSF 1.8 events to one file per tenant and day (UTC, of the entry), for a SIEM's collector to follow. An event that is
 * in the file already is not written again, so a repetition after a crash leaves no double.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { StringDecoder } from 'node:string_decoder';
import { z } from 'zod';
import { type BoundedMap, makeBoundedMap } from '../../../platform/bounded-map.ts';
import { type DeliveryOutcome, defineSink, type Message } from '../contract.ts';
import { toOcsf } from '../ocsf.ts';

const PRODUCT = { version: '1' };
/** Files that are kept in mind, one for a tenant and day; the one that was not written to for longest is forgotten first. */
const MAX_FILES = 200;

/** A file as it was last read: up to which byte, the ids in it, and whether it ends within a line. */
type Known = { size: number; ids: Set<string>; torn: boolean };

export const plugin = defineSink({
  name: 'ocsf-jsonl',
  about: 'appends OCSF 1.8 events to KEYTURN_OCSF_DIR/<tenant id>-<day>.jsonl',
  secret: 'none',
  batchSize: 500,
  concurrency: 1,

  settings: () => z.strictObject({}),

  create({ config, log }) {
    const files = makeBoundedMap<string, Known>(MAX_FILES);
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

/** Appends those messages that are not in the file yet. On disk when it resolves. */
async function appendNew(files: BoundedMap<string, Known>, path: string, messages: Message[]): Promise<void> {
  const file = await open(path, 'a+', 0o600);
  try {
    const known = await readOn(file, files.get(path));
    files.set(path, known);
    const fresh = messages.filter(({ id }) => !known.ids.has(id));
    if (fresh.length === 0) return;
    const lines = fresh.map((message) => `${JSON.stringify(toOcsf(message, PRODUCT))}\n`).join('');
    // A crash may have left a part of a line: it gets an end of its own.
    await file.appendFile(known.torn ? `\n${lines}` : lines);
    await file.datasync();
  } finally {
    await file.close();
  }
}

const READ_BYTES = 1024 * 1024;

const UID = /"uid":"(ent_[0-9a-f]+)","sequence":/;

/** Reads what any process appended since the last look. */
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
