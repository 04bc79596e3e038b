/**
 * The reply journal (promise 4). What a provider hands out exists once; until MongoDB has it, it lies here, sealed, in a
 * file of this process. Lines are written synchronously before the next thing happens: they survive kill -9 at any
 * line (the kernel has them), not a power cut. Three kinds of line tell how far a call came:
 *
 *   leased — the worker may act on these; nothing was sent
 *   sent   — the provider may have acted
 *   reply  — the sealed answer and all that is needed to commit it
 *   done   — committed, or known not to matter
 */
import {
  closeSync,
  futimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../shared/clock.ts';

const replySchema = z.object({
  k: z.literal('reply'),
  id: z.string(),
  fence: z.number(),
  /** What to commit; its shape belongs to the job named by `op`. */
  body: z.record(z.string(), z.unknown()),
});

const lineSchema = z.discriminatedUnion('k', [
  z.object({ k: z.literal('leased'), op: z.string(), items: z.array(z.tuple([z.string(), z.number()])) }),
  z.object({ k: z.literal('sent'), id: z.string(), fence: z.number() }),
  replySchema,
  z.object({ k: z.literal('done'), id: z.string(), fence: z.number() }),
]);

type Line = z.infer<typeof lineSchema>;

/** How far one action came before its process ended. `fence` names the lease that it was done under. */
export type OpenAction = {
  op: string;
  id: string;
  fence: number;
  stage: 'leased' | 'sent' | 'replied';
  reply: Record<string, unknown> | null;
};

export type Journal = {
  leased(op: string, items: { _id: string; fence: number }[]): void;
  sent(id: string, fence: number): void;
  replied(id: string, fence: number, body: Record<string, unknown>): void;
  done(id: string, fence: number): void;
  /** A sign of life: a journal that is not touched for half a lease is taken to be abandoned. */
  touch(): void;
  /** Journals of processes that gave no sign of life for `silentMs`, with what is open in them. */
  abandoned(silentMs: number): AbandonedJournal[];
  /** Removes the file when nothing is open; keeps it for the next process otherwise. */
  close(): void;
};

export type AbandonedJournal = { path: string; open: OpenAction[] };

const COMPACT_AT_BYTES = 8 * 1024 * 1024;
const ENDING = '.journal';

/** Opens this process's journal: `<dir>/<workerId>.journal`, mode 0600. `clock` only stamps the signs of life. */
export function openJournal(dir: string, workerId: string, clock: Pick<Clock, 'now'>): Journal {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, `${workerId}${ENDING}`);
  let fd = openSync(path, 'a', 0o600);
  let bytes = 0;
  const open = new Map<string, OpenAction>();

  const append = (line: Line) => {
    const text = `${JSON.stringify(line)}\n`;
    writeSync(fd, text);
    bytes += text.length;
    apply(open, line);
    if (bytes > COMPACT_AT_BYTES) compact();
  };

  /** Rewrites the file with what is still open. A crash on the way leaves the old file whole. */
  const compact = () => {
    const text = [...open.values()].flatMap(linesOf).map((line) => `${JSON.stringify(line)}\n`);
    const fresh = openSync(`${path}.new`, 'w', 0o600);
    writeSync(fresh, text.join(''));
    renameSync(`${path}.new`, path);
    closeSync(fd);
    fd = fresh;
    bytes = text.join('').length;
  };

  return {
    leased: (op, items) => append({ k: 'leased', op, items: items.map((item) => [item._id, item.fence]) }),
    sent: (id, fence) => append({ k: 'sent', id, fence }),
    replied: (id, fence, body) => append({ k: 'reply', id, fence, body }),
    done: (id, fence) => append({ k: 'done', id, fence }),
    touch: () => futimesSync(fd, new Date(clock.now()), new Date(clock.now())),
    abandoned: (silentMs) => abandonedJournals(dir, clock.now() - silentMs, path),
    close: () => {
      closeSync(fd);
      if (open.size === 0) rmSync(path, { force: true });
    },
  };
}

function abandonedJournals(dir: string, silentSince: number, own: string): AbandonedJournal[] {
  return readdirSync(dir)
    .filter((file) => file.endsWith(ENDING))
    .map((file) => join(dir, file))
    .filter((path) => path !== own && isSilent(path, silentSince))
    .map((path) => ({ path, open: readOpen(path) }));
}

/** A file that another process has just removed is nobody's any more. */
function isSilent(path: string, since: number): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY) < since;
}

function readOpen(path: string): OpenAction[] {
  const open = new Map<string, OpenAction>();
  for (const text of readFileSync(path, 'utf8').split('\n')) {
    const line = parseLine(text);
    if (line) apply(open, line);
  }
  return [...open.values()];
}

/** The last line may be cut in the middle by a crash: it then says nothing. */
function parseLine(text: string): Line | null {
  try {
    return lineSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function apply(open: Map<string, OpenAction>, line: Line): void {
  if (line.k === 'leased') {
    for (const [id, fence] of line.items)
      open.set(key(id, fence), { op: line.op, id, fence, stage: 'leased', reply: null });
    return;
  }
  const at = key(line.id, line.fence);
  const action = open.get(at);
  if (line.k === 'done') open.delete(at);
  else if (action && line.k === 'sent') action.stage = 'sent';
  else if (action && line.k === 'reply') Object.assign(action, { stage: 'replied', reply: line.body });
}

function linesOf(action: OpenAction): Line[] {
  const { op, id, fence, stage, reply } = action;
  const lines: Line[] = [{ k: 'leased', op, items: [[id, fence]] }];
  if (stage !== 'leased') lines.push({ k: 'sent', id, fence });
  if (reply) lines.push({ k: 'reply', id, fence, body: reply });
  return lines;
}

function key(id: string, fence: number): string {
  return `${id} ${fence}`;
}
