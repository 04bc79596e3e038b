import type { FastifyRequest } from 'fastify';
import { API_KEY, hashKey, isOver } from '../../shared/access/api-keys.ts';
import { makeJwtAuth } from '../../shared/access/jwt.ts';
import { makeBoundedMap } from '../../shared/platform/bounded-map.ts';
import { makeBatcher } from '../../shared/platform/concurrency/batcher.ts';
import { AppError } from '../../shared/platform/errors.ts';
import type { Deps } from '../../shared/runtime/deps.ts';
import { findPrincipalsByKeyHash, type PrincipalDoc } from '../../shared/store/access/principals.ts';

/** How long another process may go on with a key that was revoked here. */
const CACHE_MS = 5_000;
const MAX_CACHED_KEYS = 10_000;

export type Auth = {
  /** The principal of the request's API key or JWT. Throws `unauthenticated`, `store_unavailable`, `provider_unavailable`. */
  authenticate(request: Pick<FastifyRequest, 'headers'>): Promise<PrincipalDoc>;
  /** Forgets a key at once, e.g. after it was revoked in this process. */
  forget(keyHash: string): void;
};

/** API keys, looked up by hash in grouped reads and remembered for a few seconds; JWTs where they are configured. */
export function makeAuth(deps: Pick<Deps, 'config' | 'clock' | 'database'>): Auth {
  const jwtAuth = makeJwtAuth(deps);
  const cache = makeBoundedMap<string, { principal: PrincipalDoc; until: number }>(MAX_CACHED_KEYS);
  const reader = makeBatcher<string, PrincipalDoc | null>((hashes) => readPrincipals(deps, hashes), {
    maxSize: 500,
    maxConcurrent: 2,
  });

  const find = async (keyHash: string): Promise<PrincipalDoc | null> => {
    const now = deps.clock.now();
    const known = cache.get(keyHash);
    if (known && known.until > now) return known.principal;
    const principal = await reader.run(keyHash);
    if (principal === null) {
      cache.delete(keyHash);
      return null;
    }
    cache.set(keyHash, { principal, until: now + CACHE_MS });
    return principal;
  };

  return {
    authenticate: async ({ headers }) => {
      const bearer = bearerOf(headers.authorization);
      const principal = API_KEY.test(bearer) ? await find(hashKey(bearer)) : await jwtAuth?.(bearer);
      if (!principal || principal.revokedAt || isOver(principal, deps.clock.now())) throw refused();
      return principal;
    },
    forget: (keyHash) => void cache.delete(keyHash),
  };
}

/** A compact JWS (RFC 7515 §7.1). */
const JWT = /^ey[\w-]{10,4000}\.[\w-]{10,12000}\.[\w-]{10,4000}$/;

/** The key or JWT of an `Authorization` header (RFC 6750 §2.1). A malformed one is refused without a look-up. */
function bearerOf(header: string | undefined): string {
  const key = header?.replace(/^Bearer +/i, '');
  if (key === undefined || key === header || !(API_KEY.test(key) || JWT.test(key))) throw refused();
  return key;
}

/** One and the same for a missing, malformed, unknown, expired and revoked key: a stranger learns nothing from it. */
function refused(): AppError {
  return new AppError('unauthenticated', {
    detail: 'Send `Authorization: Bearer kt_live_…` with a key that is valid.',
  });
}

async function readPrincipals(deps: Pick<Deps, 'database'>, hashes: string[]): Promise<(PrincipalDoc | null)[]> {
  const found = await findPrincipalsByKeyHash(deps.database, [...new Set(hashes)]);
  return hashes.map((hash) => found.get(hash) ?? null);
}
