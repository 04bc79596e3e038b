/**
 * The reply journal (promise 4). An answer of a provider exists once; until MongoDB has it, it lies here, sealed, in a file of
 * this process. Each line is written synchronously before the next thing happens. So the lines survive kill -9 at any
 * point, because the kernel has them; they do not survive a power cut. The kinds of line tell how far a call came:
 *
 *   taking — leases on these are being asked for
 *   leased — the worker may act on these; nothing was sent
 *   sent   — the provider may have acted
 *   reply  — the sealed answer and all that is needed to commit it
 *   done   — committed, or known not to matter
 *   ended  — the leases of one holder were given back, but for those named
 */
import {
  closeSync,
  fstatSync,
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
import type { Clock } from '../platform/clock.ts';
import type { LeasedCollection } from '../store/lease.ts';

const replySchema = z.object({
  k: z.literal('reply'),
  id: z.string(),
  fence: z.number(),
  /** The change to commit; its shape belongs to the job named by `op`. */
  body: z.record(z.string(), z.unknown()),
});

const lineSchema = z.discriminatedUnion('k', [
  z.object({
    k: z.literal('taking'),
    op: z.string(),
    in: z.string() as unknown as z.ZodType<LeasedCollection>,
    holder: z.string(),
    ids: z.array(z.string()),
  }),
  z.object({ k: z.literal('leased'), holder: z.string(), items: z.array(z.tuple([z.string(), z.number()])) }),
  z.object({ k: z.literal('sent'), id: z.string(), fence: z.number() }),
  replySchema,
  z.object({ k: z.literal('done'), id: z.string(), fence: z.number() }),
  z.object({ k: z.literal('ended'), holder: z.string(), kept: z.array(z.string()) }),
]);

type Line = z.infer<typeof lineSchema>;

/** How far one action came before its process ended. `fence` names the lease that it was done under. */
export type OpenAction = {
  op: string;
  id: string;
  fence: number;
  holder: string;
  stage: 'leased' | 'sent' | 'replied';
  reply: Record<string, unknown> | null;
};

/** Leases that one holder asked for and has not given back. */
export type Taking = { op: string; in: LeasedCollection; holder: string; ids: string[] };

export type Journal = {
  taking(taking: Taking): void;
  leased(holder: string, items: { _id: string; fence: number }[]): void;
  sent(id: string, fence: number): void;
  replied(id: string, fence: number, body: Record<string, unknown>): void;
  done(id: string, fence: number): void;
  ended(holder: string, kept: string[]): void;
  /**
   * A sign of life: a journal that is not touched for half a lease is taken to be abandoned. When ours was taken, because
   * this process was frozen, all that is open is written to a new file.
   */
  touch(): void;
  /** Journals of processes that gave no sign of life for `silentMs`, with what is open in them. */
  abandoned(silentMs: number): AbandonedJournal[];
  /** Removes the file when nothing is open; keeps it for the next process otherwise. */
  close(): void;
};

export type AbandonedJournal = { path: string; open: OpenAction[]; takings: Taking[] };

/** All that is open in one journal. */
type Book = { actions: Map<string, OpenAction>; takings: Map<string, Taking> };

const COMPACT_AT_BYTES = 8 * 1024 * 1024;
const ENDING = '.journal';

/** Opens this process's journal: `<dir>/<workerId>.journal`, mode 0600. `clock` only stamps the signs of life. */
export function openJournal(dir: string, workerId: string, clock: Pick<Clock, 'now'>): Journal {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, `${workerId}${ENDING}`);
  let fd = openSync(path, 'a', 0o600);
  let bytes = 0;
  const book = emptyBook();

  const append = (line: Line) => {
    const text = `${JSON.stringify(line)}\n`;
    writeSync(fd, text);
    bytes += text.length;
    apply(book, line);
    if (bytes > COMPACT_AT_BYTES) compact();
  };

  /** Rewrites the file with what is still open. A crash on the way leaves the old file whole. */
  const compact = () => {
    const text = linesOf(book).map((line) => `${JSON.stringify(line)}\n`);
    const fresh = openSync(`${path}.new`, 'w', 0o600);
    writeSync(fresh, text.join(''));
    renameSync(`${path}.new`, path);
    closeSync(fd);
    fd = fresh;
    bytes = text.join('').length;
  };

  return {
    taking: (taking) => append({ k: 'taking', ...taking }),
    leased: (holder, items) => append({ k: 'leased', holder, items: items.map((item) => [item._id, item.fence]) }),
    sent: (id, fence) => append({ k: 'sent', id, fence }),
    replied: (id, fence, body) => append({ k: 'reply', id, fence, body }),
    done: (id, fence) => append({ k: 'done', id, fence }),
    ended: (holder, kept) => append({ k: 'ended', holder, kept }),
    touch: () => {
      if (statSync(path, { throwIfNoEntry: false })?.ino !== fstatSync(fd).ino) compact();
      futimesSync(fd, new Date(clock.now()), new Date(clock.now()));
    },
    abandoned: (silentMs) => abandonedJournals(dir, clock.now() - silentMs, path),
    close: () => {
      closeSync(fd);
      if (book.actions.size === 0 && book.takings.size === 0) rmSync(path, { force: true });
    },
  };
}

function abandonedJournals(dir: string, silentSince: number, own: string): AbandonedJournal[] {
  return readdirSync(dir)
    .filter((file) => file.endsWith(ENDING))
    .map((file) => join(dir, file))
    .filter((path) => path !== own && isSilent(path, silentSince))
    .map((path) => {
      const { actions, takings } = readBook(path);
      return { path, open: [...actions.values()], takings: [...takings.values()] };
    });
}

/** A file that another process has just removed is nobody's any more. */
function isSilent(path: string, since: number): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY) < since;
}

function emptyBook(): Book {
  return { actions: new Map(), takings: new Map() };
}

function readBook(path: string): Book {
  const book = emptyBook();
  for (const text of readFileSync(path, 'utf8').split('\n')) {
    const line = parseLine(text);
    if (line) apply(book, line);
  }
  return book;
}

/** The last line may be cut in the middle by a crash: it then says nothing. */
function parseLine(text: string): Line | null {
  try {
    return lineSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

function apply({ actions, takings }: Book, line: Line): void {
  if (line.k === 'taking') {
    const { k: _, ...taking } = line;
    takings.set(line.holder, taking);
  } else if (line.k === 'leased') {
    const op = takings.get(line.holder)?.op ?? '';
    for (const [id, fence] of line.items)
      actions.set(key(id, fence), { op, id, fence, holder: line.holder, stage: 'leased', reply: null });
  } else if (line.k === 'ended') {
    takings.delete(line.holder);
    for (const [at, action] of actions)
      if (action.holder === line.holder && !line.kept.includes(action.id)) actions.delete(at);
  } else {
    applyToAction(actions, line);
  }
}

function applyToAction(actions: Book['actions'], line: Extract<Line, { id: string }>): void {
  const at = key(line.id, line.fence);
  const action = actions.get(at);
  if (line.k === 'done') actions.delete(at);
  else if (action && line.k === 'sent') action.stage = 'sent';
  else if (action && line.k === 'reply') Object.assign(action, { stage: 'replied', reply: line.body });
}

/** The shortest journal that says the same. */
function linesOf({ actions, takings }: Book): Line[] {
  const byHolder = Map.groupBy(actions.values(), ({ holder }) => holder);
  const leased = [...byHolder].flatMap(([holder, group]): Line[] => [
    // A holder that has ended leaves only what it kept: its job's name is needed to take that up.
    ...(takings.has(holder) ? [] : [{ k: 'taking' as const, op: group[0]!.op, in: KEPT_IN, holder, ids: [] }]),
    { k: 'leased', holder, items: group.map(({ id, fence }) => [id, fence]) },
    ...group.flatMap(stagesOf),
  ]);
  return [...[...takings.values()].map((taking): Line => ({ k: 'taking', ...taking })), ...leased];
}

/** With no ids, so that nothing is given back there. */
const KEPT_IN: LeasedCollection = 'credentials';

function stagesOf({ id, fence, stage, reply }: OpenAction): Line[] {
  const lines: Line[] = stage === 'leased' ? [] : [{ k: 'sent', id, fence }];
  if (reply) lines.push({ k: 'reply', id, fence, body: reply });
  return lines;
}

function key(id: string, fence: number): string {
  return `${id} ${fence}`;
}
