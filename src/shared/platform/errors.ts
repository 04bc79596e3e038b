import { isStoreAway } from './driver-errors.ts';

/**
 * One table says all there is to know about an error: the HTTP status the API answers with, what a worker does
 * with it, and the text that may be shown to anyone. Only the HTTP edge and the job runner translate.
 *
 * `retry`: `never` (give up), `backoff` (again, counted, growing delay), `later` (again, not counted),
 * `park` (set aside for a person).
 */
export type Retry = 'never' | 'backoff' | 'later' | 'park';

type ErrorRow = { status: number; retry: Retry; title: string };

export const ERRORS = {
  // The request itself
  invalid_request: { status: 400, retry: 'never', title: 'The request is not valid.' },
  invalid_event: { status: 400, retry: 'never', title: 'The event is not a valid CloudEvent of a known type.' },
  method_not_allowed: { status: 405, retry: 'never', title: 'The path does not take this method.' },
  unsupported_media_type: { status: 415, retry: 'never', title: 'The content type is not supported.' },
  payload_too_large: { status: 413, retry: 'never', title: 'The request body is too large.' },
  unknown_service: { status: 400, retry: 'never', title: 'No such service is configured.' },
  // Who the caller is
  unauthenticated: { status: 401, retry: 'never', title: 'A valid API key is required.' },
  signature_invalid: { status: 401, retry: 'never', title: 'The signature does not match.' },
  permission_denied: { status: 403, retry: 'never', title: 'The principal lacks the permission.' },
  not_found: { status: 404, retry: 'never', title: 'There is no such object.' },
  conflict: { status: 409, retry: 'never', title: 'The object changed meanwhile, or already exists.' },
  transition_refused: { status: 409, retry: 'never', title: 'The state of the object does not allow this.' },
  rate_limited: { status: 429, retry: 'later', title: 'Too many requests.' },
  overloaded: { status: 429, retry: 'later', title: 'More work is waiting than can be taken; try again later.' },
  // The release of a token
  credential_pending: { status: 409, retry: 'later', title: 'The credential has no secret yet.' },
  credential_blocked: { status: 409, retry: 'never', title: 'The credential may not be released.' },
  reauthorization_required: { status: 409, retry: 'never', title: 'The person must give consent again.' },
  refresh_pending: { status: 503, retry: 'later', title: 'The token has expired and its refresh is under way.' },
  // OAuth
  state_invalid: { status: 400, retry: 'never', title: 'The authorization has expired, was used, or is not yours.' },
  issuer_mismatch: { status: 400, retry: 'never', title: 'The answer came from another authorization server.' },
  consent_denied: { status: 400, retry: 'never', title: 'The person or the provider declined.' },
  scopes_missing: { status: 400, retry: 'never', title: 'The provider granted fewer scopes than were asked for.' },
  provider_rejected: { status: 502, retry: 'never', title: 'The provider rejected the request.' },
  provider_grant_ended: { status: 502, retry: 'never', title: 'The provider says that the grant has ended.' },
  provider_throttled: { status: 503, retry: 'later', title: 'The provider asks to slow down.' },
  provider_unavailable: { status: 503, retry: 'backoff', title: 'The provider does not answer as it should.' },
  provider_misconfigured: { status: 500, retry: 'park', title: 'The provider does not accept our configuration.' },
  provider_unsupported: { status: 400, retry: 'never', title: 'The provider does not support this.' },
  exchange_interrupted: { status: 409, retry: 'never', title: 'The exchange was interrupted; ask for consent again.' },
  refresh_outcome_unknown: {
    status: 409,
    retry: 'never',
    title: 'A refresh was interrupted and its refresh token is spent; ask for consent again.',
  },
  // Rotation
  rotation_pending: { status: 503, retry: 'later', title: 'The rotation is under way.' },
  rotation_unverified: { status: 502, retry: 'backoff', title: 'The new secret is not accepted.' },
  rotation_given_up: { status: 502, retry: 'park', title: 'The rotation was given up; the old secret is still good.' },
  // Our own parts
  secret_unreadable: { status: 500, retry: 'park', title: 'A sealed value does not open.' },
  key_unavailable: { status: 503, retry: 'backoff', title: 'The key provider is not available.' },
  store_unavailable: { status: 503, retry: 'backoff', title: 'The database is not available; try again.' },
  queue_unavailable: { status: 503, retry: 'backoff', title: 'The queue is not available; try again.' },
  interrupted: { status: 503, retry: 'later', title: 'The work was interrupted.' },
  config_invalid: { status: 500, retry: 'never', title: 'The configuration is not valid.' },
  internal: { status: 500, retry: 'backoff', title: 'Something went wrong on our side.' },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

export type AppErrorOptions = {
  /** Shown to the caller: what to do about it. Never holds a secret or a provider's response body. */
  detail?: string;
  /** For our log only. Never holds a secret or a provider's response body. */
  internal?: string;
  cause?: unknown;
  /** When the other side said when to come back. Milliseconds. */
  retryAfterMs?: number;
  /** The request may have reached the other side, and no answer came: it may have acted, or may act yet. */
  unanswered?: boolean;
};

/** The only error class. `code` is stable: it is the last segment of the problem's `type` (RFC 9457). */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  readonly internal: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly unanswered: boolean;

  constructor(code: ErrorCode, options: AppErrorOptions = {}) {
    super(options.detail ?? ERRORS[code].title, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.detail = options.detail;
    this.internal = options.internal;
    this.retryAfterMs = options.retryAfterMs;
    this.unanswered = options.unanswered ?? false;
  }

  get retry(): Retry {
    return ERRORS[this.code].retry;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}

/**
 * The error as an AppError: itself; of the database's driver `store_unavailable` where the server was not there to say no; or
 * `internal` around whatever was thrown.
 */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError(isStoreAway(error) ? 'store_unavailable' : 'internal', { cause: error });
}
