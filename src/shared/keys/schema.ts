import { z } from 'zod';
import { isoOrNull } from '../platform/time.ts';
import { type KeyRotationDoc, ROTATION_KINDS, ROTATION_PHASES } from '../store/keys/key-rotations.ts';

/** A request of the API. A migration between stores is asked for at the command line, where the stores are set up. */
export const newKeyRotationSchema = z
  .strictObject({ kind: z.enum(['root', 'data', 'fingerprint']) })
  .meta({ id: 'NewKeyRotation' });

export const keyRotationSchema = z
  .object({
    id: z.string(),
    kind: z.enum(ROTATION_KINDS),
    phase: z.enum(ROTATION_PHASES),
    version: z.number().int().nullable().meta({ description: 'Of the new data key, once it is staged' }),
    target: z.string().nullable().meta({ description: 'Id of the new root key, or name of the new store' }),
    total: z.number().int().meta({ description: 'What was under the old key at the beginning' }),
    moved: z.number().int(),
    left: z.number().int().nullable().meta({ description: 'The last count of what is under the old key' }),
    round: z.number().int(),
    problem: z.object({ code: z.string(), detail: z.string() }).nullable(),
    startedAt: z.iso.datetime(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'KeyRotation' });

/** A rotation as it is shown. */
export function viewKeyRotation(doc: KeyRotationDoc): z.infer<typeof keyRotationSchema> {
  const { _id: id, kind, phase, version, target, total, moved, left, round, problem } = doc;
  const times = { startedAt: doc.startedAt.toISOString(), finishedAt: isoOrNull(doc.finishedAt) };
  return { id, kind, phase, version, target, total, moved, left, round, problem, ...times };
}
