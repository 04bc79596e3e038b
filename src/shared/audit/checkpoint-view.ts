import { z } from 'zod';
import type { CheckpointDoc } from '../store/audit/checkpoints.ts';

/** A signed head of the log as the API shows it, with the keys that its note is checked by. */
export const checkpointSchema = z
  .object({
    seq: z.number().int(),
    hash: z.string(),
    at: z.iso.datetime(),
    note: z.string().meta({ description: 'C2SP signed note: keep it outside of this system' }),
    verifierKeys: z.array(z.string()).meta({ description: 'Pin them where you keep the notes' }),
  })
  .meta({ id: 'Checkpoint' });

/** A checkpoint as it is shown. */
export function viewCheckpoint(
  { seq, hash, at, note }: CheckpointDoc,
  verifierKeys: string[],
): z.infer<typeof checkpointSchema> {
  return { seq, hash, at: at.toISOString(), note, verifierKeys };
}
