/** What the report says of data keys: which versions there are, and how many secrets each seals. */
import type { Deps } from '../runtime/deps.ts';
import { listDataKeys } from '../store/keys/data-keys.ts';
import { countSecretsByKeyVersion } from '../store/lifecycle/credentials-report.ts';
import type { ComplianceReport } from './schema.ts';

/** A version that secrets are sealed under and that there is no key of is `missing`: those secrets do not open. */
export async function keyCoverage(
  { database }: Pick<Deps, 'database'>,
  tenantId: string,
): Promise<ComplianceReport['keys']> {
  const [keys, sealedUnder] = await Promise.all([
    listDataKeys(database, { tenantId, purposes: ['seal'] }),
    countSecretsByKeyVersion(database, tenantId),
  ]);
  const versions = keys.toSorted((a, b) => b.version - a.version);
  const current = versions.find(({ state }) => state === 'active')?.version ?? null;
  const total = [...sealedUnder.values()].reduce((sum, count) => sum + count, 0);
  const countOf = (version: number) => sealedUnder.get(version) ?? 0;
  const missing = [...sealedUnder.keys()].filter((version) => !versions.some((key) => key.version === version));
  return {
    currentVersion: current,
    coverage: total === 0 ? 1 : countOf(current ?? 0) / total,
    versions: [
      ...versions.map(({ version, state, createdAt }) => ({
        version,
        state,
        createdAt: createdAt.toISOString(),
        credentials: countOf(version),
      })),
      ...missing.map((version) => ({ version, state: 'missing', createdAt: null, credentials: countOf(version) })),
    ],
  };
}
