import { z } from 'zod';
import { AppError, type AppErrorOptions, type ErrorCode } from '../platform/errors.ts';
import { settingName } from './settings.ts';

/** The call that failed: the same word of a provider ends a grant on a refresh, but only a code on an exchange. */
export type Operation =
  | 'exchange'
  | 'refresh'
  | 'client_credentials'
  | 'revoke'
  | 'introspect'
  | 'probe'
  | 'discover'
  | 'register';

export type FailureContext = { service: string; operation: Operation; nowMs: number };

/** A provider's answer that is no success, as far as it may be looked at. */
export type FailedReply = { status: number; retryAfter?: string | undefined; body?: unknown };

const MAX_RETRY_AFTER_MS = 24 * 3600_000;

/**
 * Error codes of RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 8628 §3.5, RFC 8707 §2, and of GitHub and Slack, which answer
 * them with status 200. A code that is not listed is never repeated: it is the provider's text.
 */
const OAUTH_ERRORS: Record<string, ErrorCode> = {
  invalid_grant: 'provider_grant_ended',
  bad_refresh_token: 'provider_grant_ended',
  invalid_refresh_token: 'provider_grant_ended',
  token_revoked: 'provider_grant_ended',
  token_expired: 'provider_grant_ended',
  account_inactive: 'provider_grant_ended',
  invalid_token: 'provider_grant_ended',
  bad_verification_code: 'provider_rejected',
  invalid_code: 'provider_rejected',
  code_already_used: 'provider_rejected',
  invalid_request: 'provider_rejected',
  invalid_scope: 'provider_rejected',
  invalid_target: 'provider_rejected',
  access_denied: 'provider_rejected',
  unsupported_grant_type: 'provider_rejected',
  unsupported_token_type: 'provider_unsupported',
  invalid_client: 'provider_misconfigured',
  invalid_client_id: 'provider_misconfigured',
  bad_client_secret: 'provider_misconfigured',
  unauthorized_client: 'provider_misconfigured',
  incorrect_client_credentials: 'provider_misconfigured',
  redirect_uri_mismatch: 'provider_misconfigured',
  bad_redirect_uri: 'provider_misconfigured',
  slow_down: 'provider_throttled',
  ratelimited: 'provider_throttled',
  rate_limited: 'provider_throttled',
  rate_limit_exceeded: 'provider_throttled',
  server_error: 'provider_unavailable',
  internal_error: 'provider_unavailable',
  temporarily_unavailable: 'provider_unavailable',
  service_unavailable: 'provider_unavailable',
};

/** For a 4xx without a code that we know, and with a JSON body; without one it is some machine in between. */
const JSON_STATUSES: Record<number, ErrorCode> = {
  401: 'provider_misconfigured',
  404: 'provider_misconfigured',
  405: 'provider_misconfigured',
  408: 'provider_unavailable',
  425: 'provider_unavailable',
};

/** A machine in between speaks, not the provider: what became of the request is not known. */
const GATEWAY_STATUSES = new Set([502, 504]);

/** System errors of a connection that never was: nothing can have reached the provider. */
const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

const errorBody = z.object({ error: z.string() });

/** The error that a provider's answer means. Nothing of the answer gets into it, but the status and a known code. */
export function replyFailure(reply: FailedReply, context: FailureContext): AppError {
  const known = knownError(reply.body);
  const retryAfterMs = parseRetryAfter(reply.retryAfter, context.nowMs);
  const internal = `${context.operation}: status ${reply.status}, ${known ?? 'no known error code'}`;
  const code = known === undefined ? codeOfStatus(reply) : codeOfError(known, context.operation);
  if (reply.status === 429) return failure('provider_throttled', context, { internal, retryAfterMs });
  const unanswered = GATEWAY_STATUSES.has(reply.status);
  return failure(code, context, { internal, retryAfterMs, unanswered });
}

/** The error for a call that got no answer. `reason`: a system error code such as `ECONNREFUSED`, or words of ours. */
export function noReply(reason: string, context: FailureContext): AppError {
  const unanswered = !NEVER_SENT.has(reason);
  return failure('provider_unavailable', context, { internal: `${context.operation}: ${reason}`, unanswered });
}

/** RFC 9110 §10.2.3: seconds or a date; milliseconds from now, at most a day. Undefined when absent or senseless. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (!value) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}

/** For a revocation: that the grant has ended already is success. Any other error is thrown again. */
export function ignoreEnded(error: unknown): void {
  if (!(error instanceof AppError && error.code === 'provider_grant_ended')) throw error;
}

/** The code of a thrown system error, else of its cause: `ECONNREFUSED`; undefined where there is none. */
export function systemErrorCode(error: unknown): string | undefined {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,40}$/.test(code)) return code;
  return cause === undefined ? undefined : systemErrorCode(cause);
}

function knownError(body: unknown): string | undefined {
  const parsed = errorBody.safeParse(body);
  return parsed.success && Object.hasOwn(OAUTH_ERRORS, parsed.data.error) ? parsed.data.error : undefined;
}

function codeOfError(error: string, operation: Operation): ErrorCode {
  const code = OAUTH_ERRORS[error] as ErrorCode;
  const aboutGrant = operation === 'refresh' || operation === 'revoke';
  return code === 'provider_grant_ended' && !aboutGrant ? 'provider_rejected' : code;
}

function codeOfStatus({ status, body }: FailedReply): ErrorCode {
  if (status === 400 || status === 422) return 'provider_rejected';
  const isJson = typeof body === 'object' && body !== null && !Buffer.isBuffer(body);
  if (status < 200 || (status >= 300 && status < 400) || status >= 500 || !isJson) return 'provider_unavailable';
  return JSON_STATUSES[status] ?? 'provider_rejected';
}

function failure(code: ErrorCode, context: FailureContext, options: AppErrorOptions): AppError {
  const misconfigured = code === 'provider_misconfigured';
  const names = ['client_id', 'client_secret'].map((field) => settingName(context.service, field)).join(' and ');
  const detail = misconfigured ? `${context.service} does not accept our client: check ${names}.` : undefined;
  return new AppError(code, { ...options, ...(detail && { detail }) });
}
