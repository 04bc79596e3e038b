import { z } from 'zod';
import { type AppError, ERRORS, type ErrorCode } from './errors.ts';

const BASE = 'https://keyturn.dev/problems/';

/** An error as it is told to a caller (RFC 9457). `type` is stable: its last segment is the error code. */
export const problemSchema = z
  .object({
    type: z.url().meta({ examples: [`${BASE}not_found`] }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string().optional().meta({ description: 'What to do about it' }),
    instance: z.string().optional().meta({ description: 'The path of the request' }),
  })
  .meta({ id: 'Problem', description: 'RFC 9457' });

export type Problem = z.infer<typeof problemSchema>;

/** The problem of an error code, with what to do about it. */
export function describeProblem(code: ErrorCode, detail?: string, instance?: string): Problem {
  const { status, title } = ERRORS[code];
  return {
    type: `${BASE}${code}`,
    title,
    status,
    ...(detail !== undefined && detail !== title && { detail }),
    ...(instance !== undefined && { instance }),
  };
}

/** The problem of an error: its public text only. */
export function toProblem(error: AppError, instance?: string): Problem {
  return describeProblem(error.code, error.detail, instance);
}
