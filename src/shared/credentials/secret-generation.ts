/** From a provider's reply to the change that makes it a credential's next generation. */
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { fingerprintsOf, placeSealed, sealMaterial } from '../keys/material.ts';
import type { Provider, TokenReply } from '../providers/contract.ts';
import type { StoredSecret } from '../sealing/secret-stores/contract.ts';
import type { CredentialDoc } from '../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../work/job.ts';
import { nextDue, providerSchedule } from './schedule.ts';

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

/** What `Generation` looks like when it comes back from the journal. */
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
  const due = nextDue({
    now,
    expiresAt: reply.expiresAt,
    refreshExpiresAt: reply.refreshExpiresAt,
    ...providerSchedule(provider, { kind: before.kind, hasRefreshToken }),
    marginMs: deps.config.refreshMarginMs,
    fraction: deps.random.fraction(),
  });
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

/** The fields of the credential's document that a generation sets. State, lease and due dates of rotations are not among them. */
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

const SETTLED = ['refresh', 'expire', 'validate'] as const;

/** `$set` and `$unset` that write a generation and replace the due dates which it determines. */
export function generationUpdate(next: Generation, extra: Record<string, unknown> = {}) {
  const due = mapDefined(next.due, (ms) => new Date(ms));
  const cleared = SETTLED.filter((what) => due[what] === undefined).map((what) => `due.${what}`);
  const claims = SETTLED.map((what) => `claimed.${what}`);
  return {
    $set: {
      ...generationFields(next),
      ...Object.fromEntries(Object.entries(due).map(([what, at]) => [`due.${what}`, at])),
      ...extra,
    },
    $unset: Object.fromEntries([...cleared, ...claims].map((field) => [field, ''])),
  };
}

/**
 * The same update without what `before` has already, as read under the lease that the write names: most of a refresh changes
 * little, and every field costs the server.
 */
export function onlyChanges(update: ReturnType<typeof generationUpdate>, before: CredentialDoc) {
  const $set: Record<string, unknown> = {};
  for (const [path, value] of Object.entries(update.$set)) {
    if (!isSame(valueAt(before, path), value)) $set[path] = value;
  }
  const $unset: Record<string, ''> = {};
  for (const path of Object.keys(update.$unset)) {
    if (valueAt(before, path) !== undefined) $unset[path] = '';
  }
  return Object.keys($unset).length > 0 ? { $set, $unset } : { $set };
}

function isSame(a: unknown, b: unknown): boolean {
  // Most fields are plain values: the deep comparison costs ten times as much.
  return a === b || (typeof a === 'object' && typeof b === 'object' && isDeepStrictEqual(a, b));
}

/** By a path of one or two names. */
function valueAt(doc: object, path: string): unknown {
  const fields = doc as Record<string, unknown>;
  const dot = path.indexOf('.');
  if (dot < 0) return fields[path];
  return (fields[path.slice(0, dot)] as Record<string, unknown> | undefined)?.[path.slice(dot + 1)];
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
