/**
 * Finds the credential of a leaked string by keyed fingerprint; the string itself goes no further. Keys are per tenant. So a
 * string that is nobody's costs one HMAC (about 2 µs) per tenant and key version, and two indexed reads per 500 tenants: that
 * is the price of the shared address, and its deadline bounds it.
 */

import { inParallel } from '../../platform/concurrency/in-parallel.ts';
import { AppError } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import { listTenantIds } from '../../store/access/tenants.ts';
import type { Fingerprinted } from '../../store/base/document.ts';
import { findIncidentsByFingerprint } from '../../store/compromise/incidents.ts';
import { findCredentialsByFingerprint, findServicesOf } from '../../store/lifecycle/credentials-lookup.ts';
import type { ReportedLeak } from './sources/contract.ts';

type MatchDeps = Pick<Deps, 'database' | 'sealer' | 'clock'>;

/** What a leak is about: a credential of a tenant, and whether its token is one that was revoked before. */
export type Match = { tenantId: string; credentialId: string; wasContained: boolean };

/** For each leak, what it is about in this tenant, or null. Another tenant's credential is not found (promise 10). */
export async function matchInTenant(
  deps: MatchDeps,
  tenantId: string,
  leaks: readonly ReportedLeak[],
): Promise<(Match | null)[]> {
  const wanted = await Promise.all(leaks.map((leak) => fingerprintsOf(deps, tenantId, leak)));
  const found = await findMatches(deps, new Map(wanted.flat().map((fingerprint) => [fingerprint, tenantId])));
  const ids = leaks.map((leak) => leak.credentialId).filter((id) => id !== undefined);
  const named = await findServicesOf(deps.database, { tenantId, ids });
  return leaks.map((leak, index) => {
    const byToken = wanted[index]!.map((fingerprint) => found.get(fingerprint)).find((match) => match !== undefined);
    if (byToken) return byToken;
    const id = leak.credentialId;
    return id !== undefined && named.has(id) ? { tenantId, credentialId: id, wasContained: false } : null;
  });
}

async function fingerprintsOf(deps: MatchDeps, tenantId: string, leak: ReportedLeak): Promise<string[]> {
  const given = leak.fingerprint === undefined ? [] : [leak.fingerprint];
  return leak.token ? [...given, ...(await deps.sealer.fingerprints(tenantId, leak.token.reveal()))] : given;
}

/**
 * The match of each fingerprint that has one: a credential that carries it, else the case in which that token was revoked.
 * `owners`: fingerprint → the tenant whose key made it; on a document of another tenant it counts for nothing.
 */
async function findMatches({ database }: MatchDeps, owners: Map<string, string>): Promise<Map<string, Match>> {
  const matches = new Map<string, Match>();
  if (owners.size === 0) return matches;
  const wanted = { fingerprints: [...owners.keys()], tenantIds: [...new Set(owners.values())] };
  const add = ({ tenantId, credentialId, fingerprints }: Fingerprinted, wasContained: boolean) => {
    for (const fingerprint of fingerprints) {
      if (owners.get(fingerprint) !== tenantId || matches.has(fingerprint)) continue;
      matches.set(fingerprint, { tenantId, credentialId, wasContained });
    }
  };
  for (const one of await findCredentialsByFingerprint(database, wanted)) add(one, false);
  for (const one of await findIncidentsByFingerprint(database, wanted)) add(one, true);
  return matches;
}

const TENANTS_AT_ONCE = 500;
/** Tenants whose fingerprint keys are fetched side by side. */
const MAX_CONCURRENT = 16;
/** GitHub's partner programme waits 30 s for an answer. Milliseconds. */
const DEADLINE_MS = 20_000;

/**
 * For each leak, all that it is about in any tenant. Throws `overloaded` past its deadline: the party sends it again.
 */
export async function matchEverywhere(deps: MatchDeps, leaks: readonly ReportedLeak[]): Promise<Match[][]> {
  const giveUpAt = deps.clock.now() + DEADLINE_MS;
  const found: Match[][] = leaks.map(() => []);
  for (let after = ''; ; ) {
    const tenantIds = await listTenantIds(deps.database, { after, limit: TENANTS_AT_ONCE });
    await addMatches(deps, tenantIds, leaks, found);
    if (tenantIds.length < TENANTS_AT_ONCE) return found;
    if (deps.clock.now() > giveUpAt) throw new AppError('overloaded', { retryAfterMs: 60_000 });
    after = tenantIds.at(-1)!;
  }
}

/** Adds to `found`, at the place of each leak, what it is about in these tenants. */
async function addMatches(
  deps: MatchDeps,
  tenantIds: string[],
  leaks: readonly ReportedLeak[],
  found: Match[][],
): Promise<void> {
  const owners = new Map<string, string>();
  const leakOf = new Map<string, number>();
  await inParallel(tenantIds, MAX_CONCURRENT, async (tenantId) => {
    for (const [index, leak] of leaks.entries()) {
      for (const fingerprint of await fingerprintsOf(deps, tenantId, leak)) {
        owners.set(fingerprint, tenantId);
        leakOf.set(fingerprint, index);
      }
    }
  });
  for (const [fingerprint, match] of await findMatches(deps, owners)) found[leakOf.get(fingerprint)!]!.push(match);
}
