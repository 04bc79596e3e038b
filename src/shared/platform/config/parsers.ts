/** Parsers of variables: from their text to the value that the code reads. Messages end a sentence that begins with the name. */
import { z } from 'zod';
import { Secret } from '../secret.ts';

export const text = z.string();
export const identifier = text.regex(/^[A-Za-z0-9_-]{1,60}$/, 'may hold letters, digits, - and _');
export const secret = text.transform((value) => new Secret(value));
export const flag = z.enum(['true', 'false']).transform((value) => value === 'true');
/** Milliseconds, from a number of seconds. */
export const seconds = text
  .regex(/^\d+(\.\d+)?$/, 'must be a number of seconds')
  .transform((value) => Math.round(Number(value) * 1_000));
/** A whole number within bounds, both included. */
export const integer = (min: number, max: number) =>
  text.regex(/^\d+$/, 'must be a whole number').transform(Number).pipe(z.number().min(min).max(max));

/** Words between commas or line ends. */
export const list = text.transform((value) =>
  value
    .split(/[,\n]/)
    .map((part) => part.trim())
    .filter(Boolean),
);
