/**
 * Finds the credential of a leaked string by keyed fingerprint; the string itself goes no further. Keys are per tenant, so
 * a string that nobody claims costs one HMAC (about 2 µs) per tenant and key version, and one indexed read per 500 tenants:
 * that is what the shared address costs, and what its deadline bounds.
 */

import { AppError } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { ReportedLeak } from './sources/contract.ts';

type MatchDeps = Pick<Deps, 'database' | 'sealer' | 'clock'>;

/** What a leak is about: a credential of a tenant, and whether its token is one that was revoked before. */
export type Match = { tenantId: string; credentialId: string; wasContained: boolean };

/** Of each leak what it is about in this tenant, or null. What belongs to another tenant is not there (promise 10). */
export async function matchInTenant(
  deps: MatchDeps,
  tenantId: string,
  leaks: readonly ReportedLeak[],
): Promise<(Match | null)[]> {
  const wanted = await Promise.all(leaks.map((leak) => fingerprintsOf(deps, tenantId, leak)));
  const found = await findAll(deps, new Map(wanted.flat().map((fingerprint) => [fingerprint, tenantId])));
  const named = await existing(deps, tenantId, leaks);
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

async function existing(deps: MatchDeps, tenantId: string, leaks: readonly ReportedLeak[]): Promise<Set<string>> {
  const ids = leaks.map((leak) => leak.credentialId).filter((id) => id !== undefined);
  if (ids.length === 0) return new Set();
  const where = { _id: { $in: ids }, tenantId };
  const docs = await deps.database
    .collection('credentials')
    .find(where, { projection: { _id: 1 } })
    .toArray();
  return new Set(docs.map((doc) => doc._id));
}

/** Credentials first; else the case in which that token was revoked. `owners`: fingerprint → tenant whose key made it. */
async function findAll(deps: MatchDeps, owners: Map<string, string>): Promise<Map<string, Match>> {
  const matches = new Map<string, Match>();
  if (owners.size === 0) return matches;
  const where = { fingerprints: { $in: [...owners.keys()] }, tenantId: { $in: [...new Set(owners.values())] } };
  const note = (doc: { tenantId: string; fingerprints?: string[] }, credentialId: string, wasContained: boolean) => {
    for (const fingerprint of doc.fingerprints ?? []) {
      if (owners.get(fingerprint) !== doc.tenantId || matches.has(fingerprint)) continue;
      matches.set(fingerprint, { tenantId: doc.tenantId, credentialId, wasContained });
    }
  };
  const projection = { tenantId: 1, fingerprints: 1, credentialId: 1 };
  const credentials = deps.database.collection('credentials').find(where, { projection });
  for await (const doc of credentials) note(doc as Pick<CredentialDoc, 'tenantId' | 'fingerprints'>, doc._id, false);
  const incidents = deps.database.collection('incidents').find(where, { projection });
  for await (const doc of incidents) if (doc.credentialId) note(doc, doc.credentialId, true);
  return matches;
}

const TENANTS_AT_ONCE = 500;
const KEYS_AT_ONCE = 16;
/** The partner programme waits 30 s for an answer. Milliseconds. */
const DEADLINE_MS = 20_000;

/** Of each leak all that it is about, in whatever tenant. Throws `overloaded` past its deadline: the party sends it again. */
export async function matchEverywhere(deps: MatchDeps, leaks: readonly ReportedLeak[]): Promise<Match[][]> {
  const giveUpAt = deps.clock.now() + DEADLINE_MS;
  const found: Match[][] = leaks.map(() => []);
  const tenants = deps.database.collection('tenants');
  for (let after = ''; ; ) {
    const docs = await tenants
      .find({ _id: { $gt: after }, shreddedAt: null }, { projection: { _id: 1 } })
      .sort({ _id: 1 })
      .limit(TENANTS_AT_ONCE)
      .toArray();
    const ids = docs.map((doc) => doc._id);
    await matchTenants(deps, ids, leaks, found);
    if (ids.length < TENANTS_AT_ONCE) return found;
    if (deps.clock.now() > giveUpAt) throw new AppError('overloaded', { retryAfterMs: 60_000 });
    after = ids.at(-1)!;
  }
}

async function matchTenants(
  deps: MatchDeps,
  ids: string[],
  leaks: readonly ReportedLeak[],
  found: Match[][],
): Promise<void> {
  const owners = new Map<string, string>();
  const leakOf = new Map<string, number>();
  const queue = ids.values();
  const lane = async () => {
    for (const tenantId of queue) {
      for (const [index, leak] of leaks.entries()) {
        for (const fingerprint of await fingerprintsOf(deps, tenantId, leak)) {
          owners.set(fingerprint, tenantId);
          leakOf.set(fingerprint, index);
        }
      }
    }
  };
  await Promise.all(Array.from({ length: KEYS_AT_ONCE }, lane));
  for (const [fingerprint, match] of await findAll(deps, owners)) found[leakOf.get(fingerprint)!]!.push(match);
}
