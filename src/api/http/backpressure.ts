/**
 * Keeps intake from taking more than can be held: it bounds the bodies under way in this process, and the events of a tenant
 * that are not settled yet. What is above is refused with 429 and Retry-After before its body is read.
 */
import { finished } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type BoundedMap, makeBoundedMap } from '../../shared/platform/bounded-map.ts';
import { AppError } from '../../shared/platform/errors.ts';
import type { Deps } from '../../shared/runtime/deps.ts';
import { countOpenEvents } from '../../shared/store/lifecycle/events.ts';
import { callerOf } from './context.ts';

export type Backpressure = {
  /** A hook for after the caller is known. Throws `overloaded`. */
  admit(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** Tells that `count` events of a tenant were accepted. */
  accepted(tenantId: string, count: number): void;
};

/** Bodies that one process reads and works on at once. Parsed and sealed they take several times their size. */
const MAX_BYTES = 32 * 1024 * 1024;
/** A body of unknown length counts as this. */
const UNKNOWN_BYTES = 256 * 1024;
const BUSY_RETRY_MS = 1_000;

/** How long a count of a tenant's backlog is good; what this process accepts meanwhile is added. */
const COUNT_FOR_MS = 3_000;
const BACKLOG_RETRY_MS = 5_000;
const MAX_TENANTS = 10_000;

type BackpressureDeps = Pick<Deps, 'clock' | 'database' | 'config' | 'log'>;

type Backlog = { count: number; until: number; counting: Promise<void> | null };

/** The bounds of one process. A tenant's backlog is counted by index, at most once in a few seconds, up to the limit. */
export function makeBackpressure(deps: BackpressureDeps): Backpressure {
  const backlogs = makeBoundedMap<string, Backlog>(MAX_TENANTS);
  let bytesUnderWay = 0;

  const reserve = (request: FastifyRequest, reply: FastifyReply) => {
    const bytes = Number(request.headers['content-length'] ?? UNKNOWN_BYTES);
    // A body that is larger than all of it is let in alone: the body limit judges it.
    if (bytesUnderWay > 0 && bytesUnderWay + bytes > MAX_BYTES) {
      throw new AppError('overloaded', { detail: 'Too much is being taken in at once.', retryAfterMs: BUSY_RETRY_MS });
    }
    bytesUnderWay += bytes;
    finished(reply.raw, () => {
      bytesUnderWay -= bytes;
    });
  };

  return {
    admit: async (request, reply) => {
      reserve(request, reply);
      const { tenantId } = callerOf(request);
      const backlog = await currentBacklog(deps, backlogs, tenantId);
      const limit = deps.config.backlogLimit;
      if (backlog.count < limit) return;
      throw new AppError('overloaded', {
        detail: `${limit} events of this tenant are not settled yet; wait until some are.`,
        retryAfterMs: BACKLOG_RETRY_MS,
      });
    },
    accepted: (tenantId, count) => {
      const backlog = backlogs.get(tenantId);
      if (backlog) backlog.count += count;
    },
  };
}

/** The first caller waits for the count; later ones get the last one while it is renewed. */
async function currentBacklog(
  deps: BackpressureDeps,
  backlogs: BoundedMap<string, Backlog>,
  tenantId: string,
): Promise<Backlog> {
  const known = backlogs.get(tenantId);
  const backlog = known ?? { count: 0, until: 0, counting: null };
  if (!known) backlogs.set(tenantId, backlog);
  if (backlog.until <= deps.clock.now()) {
    backlog.counting ??= count(deps, tenantId, backlog).finally(() => {
      backlog.counting = null;
    });
  }
  if (!known && backlog.counting) await backlog.counting;
  return backlog;
}

async function count(
  { database, config, clock, log }: BackpressureDeps,
  tenantId: string,
  backlog: Backlog,
): Promise<void> {
  try {
    backlog.count = await countOpenEvents(database, { tenantId, limit: config.backlogLimit });
  } catch (err) {
    // The request goes on: intake itself will say that the database is away.
    log.warn({ err }, 'the backlog could not be counted');
  }
  backlog.until = clock.now() + COUNT_FOR_MS;
}
