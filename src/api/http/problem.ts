/** The only place where an error becomes a reply (RFC 9457). */
import type { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import type { Logger } from 'pino';
import { AppError, type ErrorCode, toAppError } from '../../shared/platform/errors.ts';
import { describeProblem, problemSchema, toProblem } from '../../shared/platform/problem-schema.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/** For the `response` of a route's schema: any refusal. */
export const refusals = {
  '4xx': { description: 'A refusal', content: { [PROBLEM_TYPE]: { schema: problemSchema } } },
  '5xx': { description: 'A failure on our side', content: { [PROBLEM_TYPE]: { schema: problemSchema } } },
};

/** Codes of Fastify's own refusals. One below 500 that is not here is an `invalid_request`. */
const FASTIFY_CODES: Record<string, ErrorCode> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'payload_too_large',
};

/** Details are fixed texts: a parser's own message quotes the body, which may hold a secret. */
const DETAILS: Partial<Record<ErrorCode, string>> = {
  unsupported_media_type: 'See /openapi.json for the content types of this path.',
  payload_too_large: 'Send less at once.',
  invalid_request: 'The body must be well-formed and of the announced length and type.',
};

/** Anything that was thrown, as an `AppError`. */
export function toHttpError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (hasZodFastifySchemaValidationErrors(error)) return new AppError('invalid_request', { detail: firstIssue(error) });
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (statusCode === undefined || statusCode >= 500) return toAppError(error);
  const ours = FASTIFY_CODES[code ?? ''] ?? 'invalid_request';
  return new AppError(ours, { ...(DETAILS[ours] && { detail: DETAILS[ours] }), cause: error });
}

/** Messages of zod name the field and the rule, never the value. */
function firstIssue(error: { validation: { instancePath: string; message?: string }[]; validationContext?: string }) {
  const issue = error.validation[0]!;
  const path = issue.instancePath.split('/').filter(Boolean);
  return `${[error.validationContext ?? 'body', ...path].join('.')}: ${issue.message ?? 'is not valid'}`;
}

/** Answers with the problem of an error. What is our fault is logged as well. */
export async function sendProblem(log: Logger, thrown: unknown, request: FastifyRequest, reply: FastifyReply) {
  const error = toHttpError(thrown);
  // A client that is cut off while it sends never reads the reply. The server's request time-out bounds this.
  if (error.code === 'payload_too_large') await finished(request.raw.resume()).catch(() => {});
  if (error.status >= 500) log.error({ err: error, requestId: request.id, route: request.routeOptions.url }, 'failed');
  if (error.status === 401) reply.header('www-authenticate', 'Bearer realm="keyturn"');
  if (error.retryAfterMs !== undefined || error.status === 503) {
    reply.header('retry-after', String(Math.max(1, Math.ceil((error.retryAfterMs ?? 1_000) / 1_000))));
  }
  return reply
    .code(error.status)
    .header('cache-control', 'no-store')
    .type(PROBLEM_TYPE)
    .send(toProblem(error, pathOf(request)));
}

/** Answers bytes that are no HTTP request with a problem, and cuts the connection. For Node's `clientError`. */
export function cutOff(_error: Error, socket: Socket): void {
  if (!socket.writable) return void socket.destroy();
  const body = JSON.stringify(describeProblem('invalid_request', 'This is not an HTTP request.'));
  const head = ['HTTP/1.1 400 Bad Request', `content-type: ${PROBLEM_TYPE}`, `content-length: ${body.length}`];
  socket.end([...head, 'connection: close', '', body].join('\r\n'));
}

/** The path without its query, which may hold a code or a state. Where the path itself holds a state it is the route's. */
function pathOf(request: FastifyRequest): string {
  if (request.routeOptions.config.secretPath) return request.routeOptions.url ?? '';
  return request.url.split('?', 1)[0]!.slice(0, 500);
}
