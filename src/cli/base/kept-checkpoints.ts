/** Checkpoints that were kept outside the database: read from files, and checked. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { openNote, originOf, parseCheckpoint } from '../../shared/audit/signed-note.ts';
import type { CheckedPoint, Finding } from '../../shared/audit/verify.ts';
import { AppError } from '../../shared/platform/errors.ts';

/** A signed note, and the verifier keys that came with it. */
export type KeptNote = { note: string; verifierKeys: string[] };

const lineSchema = z.object({
  note: z.string(),
  verifierKey: z.string().optional(),
  verifierKeys: z.array(z.string()).optional(),
});

/**
 * Notes in a file: lines as in KEYTURN_CHECKPOINT_DIR, the reply of `GET /v1/audit/checkpoint`, or one signed note as it is.
 * Throws `invalid_request`.
 */
export async function readNotes(path: string): Promise<KeptNote[]> {
  const text = await readText(path);
  if (!text.trimStart().startsWith('{')) return [{ note: text.endsWith('\n') ? text : `${text}\n`, verifierKeys: [] }];
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const { note, verifierKey, verifierKeys = [] } = parseLine(line, path);
      return { note, verifierKeys: verifierKey ? [verifierKey, ...verifierKeys] : verifierKeys };
    });
}

/** The notes that are signed for this tenant by one of their keys, and a finding for every other one. */
export function checkNotes(
  tenantId: string,
  notes: KeptNote[],
  { trusted, kept }: { trusted: string[]; kept: CheckedPoint['kept'] },
): { points: CheckedPoint[]; findings: Finding[] } {
  const points: CheckedPoint[] = [];
  const findings: Finding[] = [];
  for (const { note, verifierKeys } of notes) {
    const text = openNote(note, [...verifierKeys, ...trusted]);
    const checkpoint = text === null ? null : parseCheckpoint(text);
    if (checkpoint?.origin === originOf(tenantId)) {
      points.push({ seq: checkpoint.seq, hash: checkpoint.hash, kept });
    } else {
      const seq = Number(note.split('\n')[1]);
      const about = `a checkpoint kept ${kept} bears no valid signature for ${originOf(tenantId)}`;
      findings.push({ kind: 'checkpoint_invalid', seq: Number.isSafeInteger(seq) ? seq : 0, entryId: null, about });
    }
  }
  return { points, findings };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('invalid_request', { detail: `${path} cannot be read.`, cause });
  }
}

function parseLine(line: string, path: string) {
  try {
    return lineSchema.parse(JSON.parse(line));
  } catch (cause) {
    throw new AppError('invalid_request', { detail: `${path} holds a line that is no checkpoint.`, cause });
  }
}
