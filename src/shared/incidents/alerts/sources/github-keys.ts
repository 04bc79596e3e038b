import { z } from 'zod';
import type { Clock } from '../../../platform/clock.ts';
import { refuse } from './contract.ts';

const TIMEOUT_MS = 5_000;
const MAX_AGE_MS = 24 * 60 * 60_000;
/** Anyone may send an unknown key id, and so make us ask GitHub: not again before this time has passed. Milliseconds. */
const MIN_INTERVAL_MS = 60_000;

const reply = z.object({ public_keys: z.array(z.object({ key_identifier: z.string(), key: z.string() })).max(100) });

/** Finds GitHub's public keys by their id. */
export type GithubKeys = {
  /** The public key (PEM) of that id, or null when GitHub publishes none. Throws the refusal `keys_unavailable`. */
  find(id: string): Promise<string | null>;
};

/** The public keys of GitHub's partner programme: fetched when one is needed, kept for a day, fetched again when an id is not among them. */
export function makeGithubKeys(url: string, clock: Pick<Clock, 'now'>): GithubKeys {
  let known = new Map<string, string>();
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let underWay: Promise<void> | null = null;

  const refresh = async () => {
    askedAt = clock.now();
    known = await fetchKeys(url);
    fetchedAt = askedAt;
  };

  return {
    find: async (id) => {
      const isFresh = clock.now() - fetchedAt < MAX_AGE_MS;
      if (isFresh && known.has(id)) return known.get(id)!;
      if (underWay === null && clock.now() - askedAt < MIN_INTERVAL_MS) {
        // An old key is better than none. An id that was not published a moment ago counts as not published.
        if (known.has(id)) return known.get(id)!;
        if (isFresh) return null;
        throw refuse('keys_unavailable');
      }
      underWay ??= refresh().finally(() => {
        underWay = null;
      });
      await underWay.catch((error) => {
        if (!known.has(id)) throw error;
      });
      return known.get(id) ?? null;
    },
  };
}

async function fetchKeys(url: string): Promise<Map<string, string>> {
  try {
    const response = await fetch(url, {
      headers: { accept: 'application/json', 'user-agent': 'keyturn' },
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) throw refuse('keys_unavailable');
    const { public_keys } = reply.parse(await response.json());
    return new Map(public_keys.map(({ key_identifier, key }) => [key_identifier, key]));
  } catch {
    throw refuse('keys_unavailable');
  }
}
