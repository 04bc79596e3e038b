import { hash } from 'node:crypto';
import { newId } from '../platform/ids.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';

/** An API key: 256 bits from a secure source. */
export const API_KEY = /^kt_live_[A-Za-z0-9_-]{43}$/;

/** SHA-256 in hex: what is kept of a key. */
export function hashKey(key: string): string {
  return hash('sha256', key, 'hex');
}

export type NewPrincipal = { tenantId: string; name: string; permissions: string[]; expiresAt: Date | null };

/** A principal and its key, which nobody can show again. */
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

/** Whether the time of a key has ended. */
export function isOver({ expiresAt }: Pick<PrincipalDoc, 'expiresAt'>, now: number): boolean {
  return expiresAt !== null && expiresAt.getTime() <= now;
}
