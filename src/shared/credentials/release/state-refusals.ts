/** Whether a credential may be released, as far as its state and its secret's end decide. */
import { AppError, type ErrorCode } from '../../platform/errors.ts';
import type { CredentialState } from '../../store/lifecycle/credentials.ts';
import type { Releasable } from '../../store/lifecycle/credentials-release.ts';
import { isRenewable, isStale } from '../freshness.ts';

type Refusal = { code: ErrorCode; detail: string };

/** Why a state refuses; `active` does not. */
const REFUSALS: Record<Exclude<CredentialState, 'active'>, Refusal> = {
  pending: { code: 'credential_pending', detail: 'Its exchange is under way; ask again in a moment.' },
  reauthorization_required: {
    code: 'reauthorization_required',
    detail: 'The grant has ended. Send the person through POST /v1/authorizations again.',
  },
  quarantined: { code: 'credential_blocked', detail: 'It is quarantined; see its entries in GET /v1/audit.' },
  expired: {
    code: 'credential_blocked',
    detail: 'It has expired and cannot be refreshed; import or connect it again.',
  },
  revoked: { code: 'credential_blocked', detail: 'It was revoked; connect or import it again.' },
  destroyed: { code: 'credential_blocked', detail: 'It was destroyed.' },
};

/** Throws when the state, a block or the end of an unrefreshable secret forbids the release. */
export function assertReleasable(doc: Releasable, now: number): void {
  if (doc.state !== 'active') {
    const { code, detail } = REFUSALS[doc.state];
    throw new AppError(code, { detail, ...(code === 'credential_pending' && { retryAfterMs: 1_000 }) });
  }
  if (doc.blocked) throw new AppError('credential_blocked', { detail: `It is blocked: ${doc.blocked.reason}.` });
  if (!isRenewable(doc) && doc.expiresAt !== null && doc.expiresAt.getTime() <= now) {
    const { code, detail } = REFUSALS.expired;
    throw new AppError(code, { detail });
  }
}

/** Whether the token must be refreshed before it goes out. One that cannot be refreshed goes out until its very end. */
export function needsRefresh(doc: Releasable, now: number): boolean {
  return isRenewable(doc) && isStale(doc, now);
}
