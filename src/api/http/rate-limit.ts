/**
 * Requests per principal and minute, counted in this process: a limit that asked Redis would cost every release a round
 * trip, and would fall with Redis. With n API processes behind a balancer a principal has up to n times the limit.
 */
import type { FastifyReply } from 'fastify';
import { makeBoundedMap } from '../../shared/platform/bounded-map.ts';
import { AppError } from '../../shared/platform/errors.ts';
import type { Deps } from '../../shared/runtime/deps.ts';

const WINDOW_MS = 60_000;
const MAX_PRINCIPALS = 50_000;

/** Counts a request, and says in the reply's headers what is left. Throws `rate_limited`. */
export type RateLimit = (principalId: string, reply: Pick<FastifyReply, 'header'>) => void;

type Bucket = { left: number; at: number };

/** One bucket for each principal, which holds a minute's worth of requests and fills without pause. */
export function makeRateLimit({ clock, config }: Pick<Deps, 'clock' | 'config'>): RateLimit {
  const most = config.rateLimitPerMinute;
  const perMs = most / WINDOW_MS;
  const policy = `"principal";q=${most};w=${WINDOW_MS / 1_000}`;
  const buckets = makeBoundedMap<string, Bucket>(MAX_PRINCIPALS);

  const bucketOf = (principalId: string, now: number): Bucket => {
    const known = buckets.get(principalId);
    if (known) {
      known.left = Math.min(most, known.left + Math.max(0, now - known.at) * perMs);
      known.at = now;
      return known;
    }
    const bucket = { left: most, at: now };
    buckets.set(principalId, bucket);
    return bucket;
  };

  return (principalId, reply) => {
    const bucket = bucketOf(principalId, clock.now());
    const isOver = bucket.left < 1;
    if (!isOver) bucket.left -= 1;
    const fullInMs = (most - bucket.left) / perMs;
    // draft-ietf-httpapi-ratelimit-headers-10
    reply.header('ratelimit-policy', policy);
    reply.header('ratelimit', `"principal";r=${Math.floor(bucket.left)};t=${Math.ceil(fullInMs / 1_000)}`);
    if (isOver) {
      throw new AppError('rate_limited', {
        detail: `This principal may make ${most} requests a minute.`,
        retryAfterMs: Math.ceil((1 - bucket.left) / perMs),
      });
    }
  };
}
