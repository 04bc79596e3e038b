import type { CredentialDoc } from '../store/lifecycle/credentials.ts';

/**
 * Whether a worker can bring a newer secret by itself: with the refresh token, or by asking once more in the client's own
 * name, for there is no refresh token then (RFC 6749 §4.4.3).
 */
export function isRenewable({ kind, hasRefreshToken }: Pick<CredentialDoc, 'kind' | 'hasRefreshToken'>): boolean {
  return hasRefreshToken || kind === 'client_credentials';
}

const MARGIN_MS = 5_000;
const MARGIN_SHARE = 0.2;

/** Whether the access token is so near its end that nobody should be given it: 5 s, or a fifth of a short life. */
export function isStale(doc: Pick<CredentialDoc, 'expiresAt' | 'secretChangedAt'>, now: number): boolean {
  if (doc.expiresAt === null) return false;
  const life = doc.expiresAt.getTime() - (doc.secretChangedAt?.getTime() ?? now);
  return doc.expiresAt.getTime() - now <= Math.min(MARGIN_MS, MARGIN_SHARE * life);
}
