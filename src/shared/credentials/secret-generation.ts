/** A provider's reply becomes the next generation of a credential's secret. */
import { z } from 'zod';
import { fingerprintsOf, placeSealed, sealMaterial } from '../keys/material.ts';
import type { Provider, TokenReply } from '../providers/contract.ts';
import type { StoredSecret } from '../sealing/secret-stores/contract.ts';
import type { CredentialDoc, Due } from '../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../work/job.ts';
import { secretDue } from './schedule.ts';

type GenerationDeps = Pick<WorkerDeps, 'sealer' | 'secrets' | 'clock' | 'random' | 'config'>;

/** Everything of a new generation that goes into the credential's document. Holds the secret sealed, so it may be journalled. */
export type Generation = {
  generation: number;
  secret: StoredSecret;
  fingerprints: string[];
  tokenType: string;
  expiresAt: number | null;
  refreshExpiresAt: number | null;
  hasRefreshToken: boolean;
  scopes: string[];
  metadata: Record<string, string>;
  due: { refresh?: number; expire?: number; validate?: number };
  at: number;
};

/** A `Generation` as it comes back from the journal. */
export const generationSchema: z.ZodType<Generation> = z.object({
  generation: z.number(),
  secret: z.object({ store: z.string(), keyVersion: z.number(), jwe: z.string().optional() }),
  fingerprints: z.array(z.string()),
  tokenType: z.string(),
  expiresAt: z.number().nullable(),
  refreshExpiresAt: z.number().nullable(),
  hasRefreshToken: z.boolean(),
  scopes: z.array(z.string()),
  metadata: z.record(z.string(), z.string()),
  due: z.object({ refresh: z.number().optional(), expire: z.number().optional(), validate: z.number().optional() }),
  at: z.number(),
}) as z.ZodType<Generation>;

type Before = Pick<CredentialDoc, '_id' | 'tenantId' | 'kind' | 'generation' | 'fingerprints' | 'scopes' | 'metadata'>;

/**
 * Seals a reply as the generation after `before`. Sealed it can be journalled; `placeGeneration` then hands it to the
 * secret store. Throws `key_unavailable`, `store_unavailable`.
 */
export async function makeGeneration(
  deps: GenerationDeps,
  provider: Provider,
  before: Before,
  reply: TokenReply,
): Promise<Generation> {
  const generation = before.generation + 1;
  const [secret, fingerprints] = await Promise.all([
    sealMaterial(deps, before, generation, reply.material),
    fingerprintsOf(deps, before.tenantId, reply.material),
  ]);
  const now = deps.clock.now();
  const hasRefreshToken = reply.material.refreshToken !== undefined;
  const { expiresAt, refreshExpiresAt } = reply;
  const due = secretDue(deps, provider, { kind: before.kind, hasRefreshToken, expiresAt, refreshExpiresAt });
  return {
    generation,
    secret,
    // The previous generation's stay: a leak is often found after the token was refreshed.
    fingerprints: [...fingerprints, ...before.fingerprints.slice(0, 2)],
    tokenType: reply.tokenType,
    expiresAt: reply.expiresAt,
    refreshExpiresAt: reply.refreshExpiresAt,
    hasRefreshToken,
    scopes: reply.scopes ?? before.scopes,
    metadata: { ...before.metadata, ...reply.metadata },
    due: mapDefined(due, (date) => date.getTime()),
    at: now,
  };
}

/** Puts a generation's secret into its store, before the credential's document names it. Idempotent. */
export async function placeGeneration(
  deps: Pick<WorkerDeps, 'secrets'>,
  owner: Pick<CredentialDoc, '_id' | 'tenantId'>,
  next: Generation,
): Promise<Generation> {
  return { ...next, secret: await placeSealed(deps, owner, next.generation, next.secret) };
}

/** The fields of the credential's document that a generation sets. State, lease and due dates are not among them. */
export function generationFields(next: Generation) {
  const date = (ms: number | null) => (ms === null ? null : new Date(ms));
  return {
    generation: next.generation,
    secret: next.secret,
    fingerprints: next.fingerprints,
    tokenType: next.tokenType,
    expiresAt: date(next.expiresAt),
    refreshExpiresAt: date(next.refreshExpiresAt),
    hasRefreshToken: next.hasRefreshToken,
    scopes: next.scopes,
    metadata: next.metadata,
    failures: 0,
    lastError: null,
    updatedAt: new Date(next.at),
    secretChangedAt: new Date(next.at),
  };
}

/** The dates of a generation's secret. */
export function generationDue(next: Generation): Due {
  return mapDefined(next.due, (ms) => new Date(ms));
}

function mapDefined<K extends string, A, B>(
  record: Partial<Record<K, A>>,
  map: (value: A) => B,
): Partial<Record<K, B>> {
  const pairs = Object.entries(record) as [K, A | undefined][];
  return Object.fromEntries(
    pairs.filter(([, value]) => value !== undefined).map(([name, value]) => [name, map(value as A)]),
  ) as Partial<Record<K, B>>;
}
