import { hash } from 'node:crypto';
import { newId } from '../platform/ids.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';

/** The form of an API key: 256 random bits in base64url. */
export const API_KEY = /^kt_live_[A-Za-z0-9_-]{43}$/;

/** SHA-256 in hex: all that is kept of a key. */
export function hashKey(key: string): string {
  return hash('sha256', key, 'hex');
}

/** What is asked for of a new principal. */
export type NewPrincipal = { tenantId: string; name: string; permissions: string[]; expiresAt: Date | null };

/** A new principal and its key. The key must be shown now: only its hash is kept. */
export function makePrincipal(
  deps: Pick<Deps, 'clock' | 'random'>,
  wanted: NewPrincipal,
  key = `kt_live_${deps.random.bytes(32).toString('base64url')}`,
): { principal: PrincipalDoc; key: string } {
  const principal: PrincipalDoc = {
    _id: newId('principal', deps),
    ...wanted,
    keyHash: hashKey(key),
    signing: null,
    createdAt: new Date(deps.clock.now()),
    revokedAt: null,
  };
  return { principal, key };
}

/** Whether a principal has expired. */
export function isOver({ expiresAt }: Pick<PrincipalDoc, 'expiresAt'>, now: number): boolean {
  return expiresAt !== null && expiresAt.getTime() <= now;
}
