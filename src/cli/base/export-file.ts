/** Reads a file that `GET /v1/audit/export` wrote. */
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { type ChainLink, isLink } from '../../shared/audit/chain-link.ts';
import { EXPORT_FORMAT } from '../../shared/audit/export.ts';
import { AppError } from '../../shared/platform/errors.ts';

const headerSchema = z.object({
  kind: z.literal('header'),
  format: z.literal(EXPORT_FORMAT),
  tenantId: z.string(),
  verifierKeys: z.array(z.string()),
});

/** An export of one tenant's log. */
export type ExportFile = {
  tenantId: string;
  verifierKeys: string[];
  /** The last line's note; null when the file was cut off before it. */
  note: string | null;
  /** Reads the file once more, line by line. */
  entries(): AsyncGenerator<ChainLink>;
};

/** Opens an export: reads its header and its last line. Throws `invalid_request` when the file is no export. */
export async function openExport(path: string): Promise<ExportFile> {
  let header: unknown;
  let last: { kind?: string; note?: unknown } = {};
  for await (const value of lines(path)) {
    header ??= value;
    last = value as typeof last;
  }
  const parsed = headerSchema.safeParse(header);
  if (!parsed.success) throw new AppError('invalid_request', { detail: `${path} is not an export of ours.` });
  return {
    tenantId: parsed.data.tenantId,
    verifierKeys: parsed.data.verifierKeys,
    note: last.kind === 'checkpoint' && typeof last.note === 'string' ? last.note : null,
    entries: () => entriesOf(path),
  };
}

async function* entriesOf(path: string): AsyncGenerator<ChainLink> {
  for await (const value of lines(path)) {
    const { kind, entry } = value as { kind?: string; entry?: unknown };
    if (kind !== 'entry') continue;
    if (!isLink(entry)) throw new AppError('invalid_request', { detail: `${path} holds an entry without a place.` });
    yield entry;
  }
}

async function* lines(path: string): AsyncGenerator<unknown> {
  const file = await open(path).catch((cause) => {
    throw new AppError('invalid_request', { detail: `${path} cannot be read.`, cause });
  });
  try {
    for await (const line of file.readLines()) if (line !== '') yield parseLine(line, path);
  } finally {
    await file.close();
  }
}

function parseLine(line: string, path: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new AppError('invalid_request', { detail: `${path} holds a line that is no JSON.`, cause });
  }
}
