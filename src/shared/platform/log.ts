import { type Logger, pino } from 'pino';
import { toAppError } from './errors.ts';

/**
 * JSON lines on standard output. Errors are logged by code, internal note and the class of their cause: never by the
 * message of somebody else's error, which may quote what a provider or a driver was given.
 */
export function makeLog(level: string, fields: Record<string, unknown>): Logger {
  return pino({
    level,
    base: fields,
    formatters: { level: (label) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError },
    redact: { paths: ['*.authorization', '*.cookie', 'req.headers'], censor: '[secret]' },
  });
}

function describeError(error: unknown): Record<string, unknown> {
  const { code, internal, cause, stack } = toAppError(error);
  const inner = cause as { name?: unknown; code?: unknown; stack?: unknown } | undefined;
  return {
    code,
    ...(internal && { internal }),
    ...(inner && { cause: { name: inner.name, code: inner.code, at: framesOf(inner.stack) } }),
    at: framesOf(stack),
  };
}

/** The frames of a stack without its first lines, which repeat the message. */
function framesOf(stack: unknown): string[] {
  if (typeof stack !== 'string') return [];
  return stack
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 6)
    .map((line) => line.trim());
}
