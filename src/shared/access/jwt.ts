/**
 * Callers who come with a JWT of a configured issuer in place of an API key (RFC 7519, RFC 8725). Off unless
 * KEYTURN_JWT_ISSUER and KEYTURN_JWT_AUDIENCE are set. `sub` names the principal, `keyturn_tenant` its tenant,
 * `keyturn_permissions` (an array, or words in a string) what it may do.
 */
import { hash } from 'node:crypto';
import { createRemoteJWKSet, errors, type JWTVerifyGetKey, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import { z } from 'zod';
import { makeBoundedMap } from '../platform/bounded-map.ts';
import { once } from '../platform/concurrency/once.ts';
import { AppError } from '../platform/errors.ts';
import { isSecureUrl } from '../providers/settings.ts';
import type { Deps } from '../runtime/deps.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';
import { findTenant } from '../store/access/tenants.ts';
import { PERMISSION } from './permissions.ts';

/** Signatures by a key pair only: with a shared secret every verifier could be an issuer (RFC 8725 §3.1). */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** How long a verified token is believed without another look at the issuer's keys and the tenant. */
const CACHE_MS = 60_000;
const MAX_CACHED = 10_000;
const CLOCK_SKEW_S = 5;

/** The ids of principals that come by JWT begin with this, so that none of them passes for an API key's. */
const ID_PREFIX = 'jwt:';

const claimsSchema = z.object({
  sub: z.string().min(1).max(200),
  exp: z.number(),
  iat: z.number().optional(),
  keyturn_tenant: z.string().min(1).max(80),
  keyturn_permissions: z
    .union([z.array(z.string()), z.string().transform((words) => words.split(' ').filter(Boolean))])
    .pipe(z.array(z.string().regex(PERMISSION)).max(100)),
});

type Claims = z.infer<typeof claimsSchema>;

/** The principal of a JWT, or null when it is not valid for us. Throws `provider_unavailable`, `store_unavailable`. */
export type JwtAuth = (token: string) => Promise<PrincipalDoc | null>;

type JwtDeps = Pick<Deps, 'config' | 'clock' | 'database'>;

/** Null when it is off. Throws `config_invalid` when only one of its two variables is set, or the issuer is not https. */
export function makeJwtAuth(deps: JwtDeps): JwtAuth | null {
  const { jwtIssuer: issuer, jwtAudience: audience } = deps.config;
  if (!issuer && !audience) return null;
  if (!issuer || !audience || !isSecureUrl(issuer)) {
    throw new AppError('config_invalid', {
      detail: 'Set both KEYTURN_JWT_ISSUER (an https URL; plain http on loopback only) and KEYTURN_JWT_AUDIENCE.',
    });
  }
  const keys = once(() =>
    discoverKeys(new URL(issuer), deps.config.callTimeoutMs).catch((error) => {
      throw unavailable(error);
    }),
  );
  const verified = makeBoundedMap<string, { principal: PrincipalDoc; until: number }>(MAX_CACHED);
  return async (token) => {
    const now = deps.clock.now();
    const key = hash('sha256', token, 'base64url');
    const known = verified.get(key);
    if (known && known.until > now) return known.principal;
    verified.delete(key);
    const claims = await verify(token, await keys(), { issuer, audience, now });
    if (!claims || !(await isOpenTenant(deps, claims.keyturn_tenant))) return null;
    const principal = principalOf(claims, now);
    verified.set(key, { principal, until: Math.min(now + CACHE_MS, claims.exp * 1_000) });
    return principal;
  };
}

type Expected = { issuer: string; audience: string; now: number };

async function verify(
  token: string,
  key: JWTVerifyGetKey,
  { issuer, audience, now }: Expected,
): Promise<Claims | null> {
  try {
    const { payload } = await jwtVerify(token, key, {
      issuer,
      audience,
      algorithms: ALGORITHMS,
      requiredClaims: ['sub', 'exp'],
      clockTolerance: CLOCK_SKEW_S,
      currentDate: new Date(now),
    });
    return claimsSchema.safeParse(payload).data ?? null;
  } catch (error) {
    const isOurs = error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError);
    if (isOurs) throw unavailable(error);
    return null;
  }
}

/** The issuer's key set, which its metadata names: by OpenID Connect Discovery, else by RFC 8414. */
async function discoverKeys(issuer: URL, timeoutMs: number): Promise<JWTVerifyGetKey> {
  const ask = (algorithm: 'oidc' | 'oauth2') =>
    oauth.discoveryRequest(issuer, {
      algorithm,
      signal: AbortSignal.timeout(timeoutMs),
      [oauth.allowInsecureRequests]: true,
    });
  const first = await ask('oidc');
  const response = first.status === 200 ? first : await ask('oauth2');
  if (response !== first) await first.body?.cancel();
  const { jwks_uri: uri } = await oauth.processDiscoveryResponse(issuer, response);
  if (!uri || !isSecureUrl(uri)) throw new Error('the issuer names no jwks_uri that is https');
  return createRemoteJWKSet(new URL(uri), { timeoutDuration: timeoutMs });
}

function unavailable(cause: unknown): AppError {
  const detail = 'The keys of KEYTURN_JWT_ISSUER cannot be had; try again.';
  return new AppError('provider_unavailable', { cause, detail });
}

async function isOpenTenant({ database }: JwtDeps, tenantId: string): Promise<boolean> {
  const tenant = await findTenant(database, tenantId);
  return tenant !== null && tenant.shreddedAt === null;
}

function principalOf(claims: Claims, now: number): PrincipalDoc {
  const id = `${ID_PREFIX}${claims.sub}`;
  return {
    _id: id,
    tenantId: claims.keyturn_tenant,
    name: id,
    keyHash: '',
    permissions: claims.keyturn_permissions,
    signing: null,
    createdAt: new Date(claims.iat === undefined ? now : claims.iat * 1_000),
    expiresAt: new Date(claims.exp * 1_000),
    revokedAt: null,
  };
}
