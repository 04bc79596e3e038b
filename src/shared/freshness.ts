import type { CredentialDoc } from './store/documents.ts';

const MARGIN_MS = 5_000;
const MARGIN_SHARE = 0.2;

/** Whether the access token is so near its end that nobody should be given it: 5 s, or a fifth of a short life. */
export function isStale(doc: Pick<CredentialDoc, 'expiresAt' | 'secretChangedAt'>, now: number): boolean {
  if (doc.expiresAt === null) return false;
  const life = doc.expiresAt.getTime() - (doc.secretChangedAt?.getTime() ?? now);
  return doc.expiresAt.getTime() - now <= Math.min(MARGIN_MS, MARGIN_SHARE * life);
}
